"""Brownian motion against exact decay laws. Means of n values are compared within 4.5 standard errors: a false alarm in 150,000 comparisons."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold, shapes
from topogen.manifolds.local_polynomial import fit_local_polynomials
from topogen.sampling.brownian import SCHEMES, brownian, brownian_paths, longest_step

N = 20_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def z_score(values: torch.Tensor, expected: float) -> float:
    return float((values.mean() - expected) / (values.std() / len(values) ** 0.5))


def decayed(name: str, rate: float, step: float, scheme: str = "second order", time: float = 0.5) -> float:
    """z-score of E <x_t, x_0> against exp(-rate t)."""
    shape = shapes.get(name)
    x = shape.sample(N, seeded())
    y = brownian(shape, x, time, step=step, scheme=scheme, generator=seeded(1))
    return z_score((x * y).sum(-1), math.exp(-rate * time))


@pytest.mark.parametrize(("name", "rate"), [("circle", 0.5), ("sphere", 1.0), ("three_sphere", 1.5)])
def test_coordinates_decay_on_spheres(name, rate):
    assert abs(decayed(name, rate, 0.15)) < 4.5


def test_a_coarse_first_order_walk_is_caught():
    assert abs(decayed("sphere", 1.0, 0.3, "projected")) > 4.5


def test_the_flat_torus_has_the_moments_of_its_heat_kernel():
    torus = shapes.get("flat_torus")
    x = torus.sample(N, seeded())
    y = brownian(torus, x, 0.3, step=0.15, generator=seeded(1))
    for a, b in ((0, 1), (2, 3)):
        turned = torch.atan2(y[:, b], y[:, a]) - torch.atan2(x[:, b], x[:, a])
        for k in (1, 2):
            assert abs(z_score((k * turned).cos(), math.exp(-(k**2) * 0.3 / 2))) < 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_uniform_law_stays(scheme):
    torus = shapes.get("torus")
    y = brownian(torus, torus.sample(N // 2, seeded()), 0.2, scheme=scheme, generator=seeded(1))
    ring = y[:, :2].norm(dim=1)
    assert abs(z_score((ring - torus.R) / torus.r, torus.r / (2 * torus.R))) < 4.5


def test_paths_forget_where_they_began():
    sphere = shapes.get("sphere")
    start = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(4000, 3)
    y = brownian(sphere, start, 8.0, step=0.25, generator=seeded())
    for i in range(3):
        assert abs(z_score(y[:, i], math.exp(-8.0) if i == 2 else 0.0)) < 4.5
        assert abs(z_score(y[:, i] ** 2, 1 / 3)) < 4.5


def test_times_may_differ_by_path_and_are_kept():
    circle = shapes.get("circle")
    x = circle.sample(N, seeded())
    times = torch.stack([torch.linspace(0.05, 0.1, N), torch.linspace(0.2, 0.6, N)]).double()
    paths = brownian_paths(circle, x, times, generator=seeded(1))
    assert paths.points.shape == (2, N, 2) and paths.refused == 0
    for points, time in zip(paths.points, times, strict=True):
        assert abs(z_score((x * points).sum(-1) - (-time / 2).exp(), 0.0)) < 4.5


def test_a_table_of_an_implicit_torus_walks_like_the_torus():
    torus = shapes.get("torus")
    implicit = ImplicitManifold(lambda x: ((x[:, :2].norm(dim=1) - torus.R) ** 2 + x[:, 2] ** 2 - torus.r**2).unsqueeze(1), 2, 3)
    table = fit_local_polynomials(torus.sample(6000, seeded()), 2)
    x = torus.sample(8000, seeded(2))
    along = [(x * brownian(m, x, 0.1, generator=seeded(3))).sum(-1) for m in (implicit, table)]
    assert abs(z_score(along[0] - along[1], 0.0)) < 4.5
    assert abs(longest_step(implicit, x) / longest_step(table, x) - 1) < 0.02


def test_a_boundary_keeps_paths_in():
    band = shapes.get("moebius_band")
    y = brownian(band, band.sample(2000, seeded()), 0.05, generator=seeded(1))
    assert bool(band.project(y).converged.all())


def test_same_seed_same_bits():
    sphere = shapes.get("sphere")
    x = sphere.sample(50, seeded())
    assert torch.equal(brownian(sphere, x, 0.1, generator=seeded(1)), brownian(sphere, x, 0.1, generator=seeded(1)))


@pytest.mark.parametrize("time", [0.0, -1.0, math.nan, math.inf])
def test_times_are_positive(time):
    sphere = shapes.get("sphere")
    with pytest.raises(InvalidInputError, match="times: expected positive"):
        brownian(sphere, sphere.sample(5, seeded()), time)


def test_what_cannot_be_walked_is_refused():
    sphere = shapes.get("sphere")
    x = sphere.sample(5, seeded())
    with pytest.raises(InvalidInputError, match="scheme: expected one of"):
        brownian(sphere, x, 0.1, scheme="geodesic")
    with pytest.raises(InvalidInputError, match="step: expected a positive length"):
        brownian(sphere, x, 0.1, step=0.0)
    with pytest.raises(InvalidInputError, match="ascending"):
        brownian_paths(sphere, x, torch.tensor([0.2, 0.1]))
    with pytest.raises(InvalidInputError, match=r"times: expected \(K,\)"):
        brownian_paths(sphere, x, torch.ones(2, 3))
    with pytest.raises(InvalidInputError, match="moves all points at once|move all points at once"):
        brownian_paths(sphere, x, torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]]), scheme="metropolis")
