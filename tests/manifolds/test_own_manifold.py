"""A manifold that somebody else writes, with a projection and tangents alone, works everywhere by the defaults of the contract."""

import math
from typing import final

import pytest
import torch

import topogen
from topogen.distributions import Uniform
from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds.base import Manifold, Projection
from topogen.sampling import brownian, sample
from topogen.testing import ManifoldLaws


@final
class Circles(Manifold):
    """The product of k circles in R^(2k), flat; with two of them a Clifford torus."""

    name = "circles"

    def __init__(self, *radii):
        super().__init__(len(radii), 2 * len(radii))
        self.radii = torch.tensor(radii, dtype=torch.float64)[:, None]

    def _project(self, x):
        planes = x.unflatten(-1, (self.dim, 2))
        length = planes.norm(dim=-1, keepdim=True)
        zeros = torch.zeros(len(x), dtype=x.dtype)
        return Projection((self.radii.to(x) * planes / length).flatten(-2), zeros, (length.flatten(1) > 1e-9).all(-1), zeros.long())

    def _tangent_basis(self, x):
        planes = x.unflatten(-1, (self.dim, 2)) / self.radii.to(x)
        turned = torch.stack([-planes[..., 1], planes[..., 0]], -1)
        return torch.stack([torch.nn.functional.pad(turned[:, k], (2 * k, self.ambient_dim - 2 * k - 2)) for k in range(self.dim)], -1)

    def at(self, angles):
        return (self.radii * torch.stack([angles.cos(), angles.sin()], -1)).flatten(-2)


CIRCLE, TORUS = Circles(0.8), Circles(1.0, 0.7)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n, seed=0, manifold=TORUS):
    return manifold.at(2 * math.pi * torch.rand(n, manifold.dim, generator=seeded(seed), dtype=torch.float64))


class TestCliffordTorus(ManifoldLaws):
    def manifold(self):
        return TORUS

    def points(self, n, generator):
        return TORUS.at(2 * math.pi * torch.rand(n, 2, generator=generator, dtype=torch.float64))


def test_what_it_does_not_know_is_none_and_what_follows_from_its_projection_is_there():
    x = points(20)
    assert (TORUS.gate, TORUS.constraint, TORUS.charts, TORUS.betti(), TORUS.known_points(), TORUS.orientable) == (None,) * 6
    assert TORUS.closed and not TORUS.closed_form and not TORUS.regular and TORUS.codim == 2
    assert TORUS.underlying is TORUS and TORUS.with_fast_projection() is TORUS and bool(TORUS.inside_boundary(x).all())
    value, rows = TORUS.section(x)
    assert float(value.abs().max()) < 1e-12 and float((rows @ TORUS.tangent_basis(x)).abs().max()) < 1e-12
    trace = TORUS.second_fundamental_form(x).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert torch.allclose(trace, TORUS.mean_curvature(x), atol=1e-5)
    for found, alone in zip(TORUS.tangent_and_second_form(x), (TORUS.tangent_basis(x), TORUS.second_fundamental_form(x)), strict=True):
        assert torch.equal(found, alone)
    assert torch.equal(TORUS.tangent_and_mean_curvature(x)[1], TORUS.mean_curvature(x))


def test_it_has_distances():
    turns = 2 * (torch.rand(2, 10, 2, generator=seeded(1), dtype=torch.float64) - 0.5)
    flat = (TORUS.radii[:, 0] * (turns[0] - turns[1])).norm(dim=-1)
    assert torch.allclose(TORUS.dist(TORUS.at(turns[0]), TORUS.at(turns[1])), flat, rtol=1e-5)
    assert torch.equal(TORUS.geodesics(points(1500)).dist(TORUS.at(turns[0]), TORUS.at(turns[1])) < torch.inf, torch.ones(10, dtype=torch.bool))


def test_it_is_sampled_uniformly():
    uniform = Uniform(CIRCLE, points=points(200, manifold=CIRCLE), generator=seeded())
    x = uniform.sample((400,), generator=seeded(1))
    assert uniform.method == "walk" and bool(CIRCLE.project(x).converged.all())
    assert abs(uniform.volume.value / (2 * math.pi * 0.8) - 1) < 0.05
    with pytest.raises(InvalidInputError, match="points: needed"):
        Uniform(CIRCLE)


@pytest.mark.parametrize("kernel", ["hmc", "langevin", "random_walk"])
def test_chains_walk_on_it(kernel):
    chains = sample(TORUS, lambda x: x[:, 0], start=points(50), n_steps=10, n_warm_up=20, kernel=kernel, jumps=5, generator=seeded())
    flat = chains.points.reshape(-1, 4)
    assert float((TORUS.project(flat).points - flat).norm(dim=1).max()) < 1e-7
    with pytest.raises(InvalidInputError, match="constraint"):
        sample(TORUS, start=points(5), measure="coarea")


def test_brownian_paths_stay_on_it():
    x = brownian(TORUS, points(30), 0.05, generator=seeded())
    assert bool(torch.isfinite(x).all()) and float((TORUS.project(x).points - x).norm(dim=1).max()) < 1e-9


def test_it_is_verified():
    found = topogen.verify(CIRCLE, against=points(600, manifold=CIRCLE), expect="circle", n_samples=600, generator=seeded())
    assert str(found.verdict) == "CONFIRMED", found.to_text()


def test_what_needs_a_constraint_or_charts_says_so():
    from topogen.topology.level_sets.certificate import certify_level_set
    from topogen.verification.dimension_certificate import dimension_certificate

    with pytest.raises(NotSupportedError, match="no constraint"):
        certify_level_set(TORUS, points(50))
    with pytest.raises(NotSupportedError, match="no constraint"):
        dimension_certificate(TORUS, points(50))
    with pytest.raises(InvalidInputError, match="expected an Atlas"):
        topogen.certify(TORUS)
