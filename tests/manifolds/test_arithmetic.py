"""Unions, intersections and meeting points: no rank defect where pieces cross, truths in closed form."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold, Union, intersection, meeting_points
from topogen.manifolds.shapes import Circle, Sphere


def ball(centre: list[float], radius: float = 1.0) -> ImplicitManifold:
    """The sphere around a centre."""
    at = torch.tensor(centre, dtype=torch.float64)
    return ImplicitManifold(lambda x: (x - at).square().sum(1, keepdim=True) - radius**2, len(centre) - 1, len(centre))


def overcomplete(centre: list[float]) -> ImplicitManifold:
    """The unit sphere around a centre as D outputs of rank one."""
    at = torch.tensor(centre, dtype=torch.float64)

    def field(x: torch.Tensor) -> torch.Tensor:
        spoke = x - at
        length = spoke.norm(dim=1, keepdim=True)
        return spoke / length * (length - 1)

    return ImplicitManifold(field, len(centre) - 1, len(centre), max_step=0.5)


def noise(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_union_projects_to_the_nearest_piece_and_knows_it():
    union = Union([ball([-0.5, 0, 0]), ball([0.5, 0, 0])])
    x = noise(200, 3)
    found = union.project(x)
    distances = torch.stack([((x - torch.tensor([c, 0, 0.0])).norm(dim=1) - 1).abs() for c in (-0.5, 0.5)])
    assert bool(found.converged.all())
    assert torch.allclose((found.points - x).norm(dim=1), distances.amin(0), atol=1e-8)
    assert torch.equal(union.piece(x), distances.argmin(0))


def test_the_product_of_constraints_is_lost_where_pieces_cross_and_the_union_is_not():
    """Two circles of radius 1 around (-.5, 0), (.5, 0) cross in (0, +-sqrt(3)/2)."""
    union = Union([ball([-0.5, 0]), ball([0.5, 0])])
    product = ImplicitManifold(lambda x: union.pieces[0].value(x) * union.pieces[1].value(x), 1, 2)
    crossing = torch.tensor([[0.0, math.sqrt(3) / 2]], dtype=torch.float64)
    assert float(product.spectrum(crossing)) < 1e-9
    near = crossing + 1e-3 * noise(50, 2)
    assert bool(union.project(near).converged.all())
    assert bool(union.crossing(near, 1e-2).all())
    assert not bool(union.crossing(torch.tensor([[-1.5, 0.0]], dtype=torch.float64), 1e-2).any())


def test_tangents_and_curvature_come_from_the_piece():
    union = Union([Sphere(2), ball([5.0, 0, 0], 2.0)])
    x = torch.tensor([[0.0, 0, 1.0], [5.0, 0, 2.0]], dtype=torch.float64)
    assert torch.allclose(union.normal_basis(x).squeeze(-1).abs(), torch.tensor([[0, 0, 1.0], [0, 0, 1.0]], dtype=torch.float64), atol=1e-12)
    assert torch.allclose(union.mean_curvature(x)[:, 2], torch.tensor([-2.0, -1.0], dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("make", [ball, overcomplete], ids=["regular", "overcomplete"])
def test_two_spheres_meet_in_a_circle(make):
    circle = intersection(make([-0.5, 0, 0]), make([0.5, 0, 0]))
    assert (circle.dim, circle.codim) == (1, 2)
    start = torch.cat([0.1 * noise(50, 1), torch.nn.functional.normalize(noise(50, 2, 1), dim=1)], 1)
    found = circle.project(start)
    assert bool(found.converged.all())
    assert float(found.points[:, 0].abs().max()) < 1e-8
    assert torch.allclose(found.points[:, 1:].norm(dim=1), torch.full((50,), math.sqrt(3) / 2, dtype=torch.float64), atol=1e-8)


def test_gates_of_the_pieces_bound_the_intersection():
    half = ball([-0.5, 0, 0])
    half.gate = _Upper()
    found = intersection(half, ball([0.5, 0, 0])).project(torch.tensor([[0, 0.8, 0.3], [0, 0.8, -0.3]], dtype=torch.float64))
    assert found.converged.tolist() == [True, False]


class _Upper(torch.nn.Module):
    def forward(self, x: torch.Tensor, tangent_basis: object) -> torch.Tensor:
        return x[:, 2] > 0


@pytest.mark.parametrize("make", [ball, overcomplete], ids=["regular", "overcomplete"])
def test_two_circles_meet_in_exactly_two_points(make):
    found = meeting_points(make([-0.5, 0]), make([0.5, 0]), noise(200, 2))
    assert found.points.shape == (2, 2)
    assert torch.allclose(found.points.abs(), torch.tensor([[0, math.sqrt(3) / 2]], dtype=torch.float64).expand(2, 2), atol=1e-7)
    assert bool((found.transversality > 0.3).all())


def test_circles_that_touch_are_seen_to_touch():
    found = meeting_points(ball([-1.0, 0]), ball([1.0, 0]), 0.3 * noise(50, 2))
    assert len(found.points) == 0 or float(found.transversality.max()) < 1e-3


def test_pieces_that_do_not_fit_are_named():
    with pytest.raises(InvalidInputError, match="at least two"):
        Union([Circle()])
    with pytest.raises(InvalidInputError, match="different dimension"):
        Union([Circle(), Sphere(2)])
    with pytest.raises(InvalidInputError, match="Mixture"):
        Union([ball([0.0, 0, 0]), ImplicitManifold(lambda x: torch.stack([x[:, 2], x[:, :2].norm(dim=1) - 1], 1), 1, 3)])
    with pytest.raises(InvalidInputError, match="meeting_points"):
        intersection(ball([0.0, 0]), ball([1.0, 0]))
    with pytest.raises(InvalidInputError, match="d_1"):
        meeting_points(ball([0.0, 0, 0]), ball([1.0, 0, 0]), noise(3, 3))
