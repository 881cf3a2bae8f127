"""Closest points of learned constraints: exact tangents, and the same points as the rounds that are taken in turn."""

import copy
from collections.abc import Callable

import pytest
import torch
from constraints import learned_circle, learned_torus, tall_torus
from torch import Tensor

from topogen.geometry.frames import apply
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.implicit.joint_rounds import taken_together
from topogen.manifolds.implicit.section import Approach
from topogen.manifolds.implicit.spectral_section import SpectralSection
from topogen.manifolds.shapes import Torus


def near_torus(n: int, noise: float = 0.05, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    on = Torus(1.0, 0.5).sample(n, generator=generator)
    return on + noise * torch.randn(on.shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def learned() -> ImplicitManifold:
    return learned_torus()


def in_turn(manifold: ImplicitManifold, scale: float = 1e-3) -> ImplicitManifold:
    """The same set by a field without derivatives of its own, which takes one equation after the other, to finer tolerances."""
    constraint: Callable[[Tensor], Tensor] = manifold.constraint
    return ImplicitManifold(lambda x: constraint(x), manifold.dim, manifold.ambient_dim, max_step=manifold.max_step, scale=scale)


def secant_angle(manifold: ImplicitManifold, z: Tensor, step: float = 5e-4) -> float:
    """Largest angle in degrees between tangents t at z and secants (pi(z + h t) - pi(z - h t)) / 2h of the closest-point projection."""
    basis, worst = manifold.tangent_basis(z), 0.0
    for i in range(manifold.dim):
        ahead, behind = (manifold.projx(z + sign * step * basis[..., i]) for sign in (1, -1))
        secant = (ahead - behind) / (2 * step)
        off = secant - apply(basis, apply(basis.mT, secant))
        worst = max(worst, float(torch.rad2deg((off.norm(dim=1) / secant.norm(dim=1)).asin()).max()))
    return worst


def test_tangents_are_limits_of_secants_where_outputs_outnumber_coordinates():
    manifold = ImplicitManifold(tall_torus, 2, 3, scale=1e-2)
    assert secant_angle(manifold, manifold.projx(Torus(1.0, 0.4).sample(50, generator=torch.Generator().manual_seed(0)))) < 1e-4


def test_tangents_of_a_learned_overcomplete_constraint_are_limits_of_secants(learned):
    assert secant_angle(learned, learned.projx(near_torus(100, 0.0))) < 1e-4


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_closest_points_are_those_of_the_rounds_in_turn(learned, noise):
    x = near_torus(300, noise)
    found, expected = learned.project(x), in_turn(learned).project(x)
    assert found.converged.all() and expected.converged.all()
    # The rounds in turn stop a few 1e-9 short of it themselves: what is left of their slope is granted, widened by curvature.
    short = apply(learned.tangent_basis(expected.points).mT, x - expected.points).norm(dim=1)
    assert bool(((found.points - expected.points).norm(dim=1) <= 1e-9 * learned.scale + 3 * short).all()) and float(short.max()) < 5e-9
    assert found.residual.max() <= 1e-9 * learned.scale
    basis = learned.tangent_basis(found.points)
    assert apply(basis.mT, x - found.points).norm(dim=1).max() <= 1e-9 * learned.scale


def test_the_reported_residual_is_that_of_the_section(learned):
    found = learned.project(near_torus(200))
    assert torch.allclose(found.residual, learned.kept_residual(found.points), atol=1e-12)


def test_closest_points_of_a_regular_constraint():
    manifold = learned_circle()
    x = 1.5 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x[(x.norm(dim=1) - 1).abs() < 0.3]
    found = manifold.project(x)
    assert found.converged.all()
    assert apply(manifold.tangent_basis(found.points).mT, x - found.points).abs().max() <= 1e-9
    assert (found.points - in_turn(manifold).project(x).points).norm(dim=1).max() < 2e-9


def test_a_batch_is_its_rows_and_rows_that_are_not_finite_do_not_spoil_it(learned):
    x = near_torus(20)
    x[3] = torch.nan
    found = learned.project(x)
    assert torch.equal(found.converged, torch.arange(20) != 3)
    for i in range(5):
        alone = learned.project(x[i : i + 1])
        assert torch.allclose(alone.points, found.points[i : i + 1], atol=1e-10, equal_nan=True)


def test_points_that_do_not_end_at_once_are_taken_in_turn(learned):
    """Where M curves away from the points the quick rounds give some up; these end where the rounds in turn end."""
    x = near_torus(300, 0.6)
    how = Approach(1e-9, learned.predictor_steps, learned.max_step, 50, learned.scale, closest=True)
    field = learned.constraint
    at_once, found = taken_together(field, 1, x, how), SpectralSection(field, 1).project(x, how)
    assert 0.5 < at_once.converged.double().mean() < 0.99
    assert torch.equal(found.points[at_once.converged], at_once.points[at_once.converged])
    assert found.converged.all() and found.residual.max() <= 1e-9


def test_a_constraint_far_from_the_origin_keeps_its_digits(learned):
    """Single precision would round coordinates of 1e7 to whole units."""
    moved, shift = copy.deepcopy(learned), 1e7
    moved.constraint.get_buffer("centre").add_(shift)
    x = near_torus(50)
    found = moved.project(x + shift)
    assert (found.points - shift - learned.project(x).points).norm(dim=1).max() < 1e-7
