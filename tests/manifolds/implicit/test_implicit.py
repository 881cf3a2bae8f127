"""Implicit manifolds given in closed form: contract laws, projection, tangents, curvature, local dimension, gates."""

import math

import pytest
import torch
from constraints import drifting_torus, rotations, torus_distance
from torch import Tensor, nn

from topogen.errors import InvalidInputError, ProjectionError
from topogen.manifolds import Gate, ImplicitManifold
from topogen.manifolds.implicit.boundary_gate import half_ball_centroid
from topogen.manifolds.shapes import SpecialOrthogonal, Torus
from topogen.testing import ManifoldLaws


def tilted_torus(x: Tensor) -> Tensor:
    return drifting_torus(x, 0.002)


def orthogonality(x: Tensor) -> Tensor:
    """X X^t = I, off the diagonal scaled so that J J^t is a multiple of the identity."""
    rows, columns = torch.triu_indices(3, 3)
    return rotations(x) * torch.where(rows == columns, 0.5, 0.5**0.5).to(x.dtype)


class TestTorus(ManifoldLaws):
    def manifold(self) -> ImplicitManifold:
        return ImplicitManifold(torus_distance, 2, 3)

    def points(self, n: int, generator: torch.Generator) -> Tensor:
        return Torus().sample(n, generator=generator)


class TestRotations(ManifoldLaws):
    def manifold(self) -> ImplicitManifold:
        return ImplicitManifold(orthogonality, 3, 9)

    def points(self, n: int, generator: torch.Generator) -> Tensor:
        return SpecialOrthogonal().sample(n, generator=generator)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def near_torus(n: int, generator: torch.Generator, noise: float = 0.05) -> Tensor:
    on = Torus().sample(n, generator=generator)
    return on + noise * torch.randn(on.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("field", [torus_distance, tilted_torus])
def test_projection_is_the_closest_point_and_reports_per_sample(field, generator):
    manifold = ImplicitManifold(field, 2, 3)
    x = near_torus(200, generator)
    found = manifold.project(x)
    assert found.converged.all() and found.residual.max() <= 1e-9
    basis = manifold.tangent_basis(found.points)
    along = (basis.mT @ (x - found.points).unsqueeze(-1)).squeeze(-1)
    assert along.abs().max() < 1e-7


def test_distance_to_the_torus_is_exact(generator):
    x = near_torus(500, generator, 0.1)
    moved = (ImplicitManifold(torus_distance, 2, 3).project(x).points - x).norm(dim=-1)
    assert torch.allclose(moved, torus_distance(x).squeeze(-1).abs(), atol=1e-9)


def test_with_fast_projection_is_the_same_set_sharing_its_constraint(generator):
    anchors = Torus().sample(200, generator=generator)
    manifold = ImplicitManifold(torus_distance, 2, 3, predictor_steps=1, gate=Gate(anchors, 0.5, 3))
    quick = manifold.with_fast_projection()
    bare = manifold.with_fast_projection(gated=False, predicted=False)
    assert (quick.closest, quick.gate, quick.predictor_steps) == (False, manifold.gate, 1)
    assert (bare.closest, bare.gate, bare.predictor_steps) == (False, None, 0)
    assert manifold.closest and manifold.gate is not None and manifold.predictor_steps == 1
    assert bare.constraint is manifold.constraint
    assert torus_distance(quick.project(near_torus(50, generator)).points).abs().max() < 1e-9


def test_exact_tangents_of_an_overcomplete_constraint(generator):
    """The offset of a tangent step shrinks with its square; along the kernel of the truncated Jacobian it shrinks with the step only."""
    manifold = ImplicitManifold(tilted_torus, 2, 3)
    z = manifold.project(near_torus(100, generator)).points
    offsets = [
        (manifold.project(z + h * manifold.tangent_basis(z)[..., 0]).points - z - h * manifold.tangent_basis(z)[..., 0]).norm(dim=-1) for h in (1e-3, 1e-4)
    ]
    assert (offsets[0] / offsets[1]).median() == pytest.approx(100, rel=0.1)
    truncated = manifold.frame(z).right[..., 1:]
    direction = torch.linalg.qr(manifold.frame(z).right[..., :1], mode="complete").Q[..., 1:] if truncated.shape[-1] < 2 else truncated
    slanted = [(manifold.project(z + h * direction[..., 0]).points - z - h * direction[..., 0]).norm(dim=-1) for h in (1e-4, 1e-5)]
    assert (slanted[0] / slanted[1]).quantile(0.25) < 30
    assert 0 < manifold.tilt(z).max() < 5


def test_tilt_of_a_regular_constraint_is_zero(generator):
    manifold = ImplicitManifold(torus_distance, 2, 3)
    assert manifold.tilt(near_torus(5, generator)).eq(0).all()
    assert manifold.gap(near_torus(5, generator)).isinf().all()


def test_mean_curvature_of_the_torus(generator):
    z = Torus().sample(50, generator=generator)
    expected = Torus().mean_curvature(z)
    for field, tolerance in ((torus_distance, 1e-9), (tilted_torus, 0.2)):
        manifold = ImplicitManifold(field, 2, 3)
        assert torch.allclose(manifold.mean_curvature(manifold.projx(z)), expected, atol=tolerance)


def test_float32_comes_back_as_float32(generator):
    manifold = ImplicitManifold(torus_distance, 2, 3)
    found = manifold.project(near_torus(10, generator).float())
    assert found.points.dtype == torch.float32 and found.residual.dtype == torch.float32 and found.converged.all()


def test_scale_changes_nothing_but_units(generator):
    x = near_torus(50, generator)
    reference = ImplicitManifold(torus_distance, 2, 3).project(x)
    for unit in (1e-6, 1e6):

        def field(y: Tensor, unit: float = unit) -> Tensor:
            return unit * torus_distance(y / unit)

        found = ImplicitManifold(field, 2, 3, scale=unit).project(unit * x)
        assert torch.equal(found.converged, reference.converged)
        assert torch.allclose(found.points / unit, reference.points, atol=1e-9)


def test_a_point_without_projection_is_flagged_and_the_strict_face_raises():
    def nowhere(x: Tensor) -> Tensor:
        return (x**2).sum(-1, keepdim=True) + 1.0

    manifold = ImplicitManifold(nowhere, 1, 2)
    x = torch.ones(3, 2, dtype=torch.float64)
    assert not manifold.project(x).converged.any()
    with pytest.raises(ProjectionError, match="3 of 3 points did not converge"):
        manifold.projx(x)


def test_constraints_on_single_points_are_vectorised():
    manifold = ImplicitManifold(lambda x: x @ x - 1.0, 2, 3)
    x = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, -3.0]], dtype=torch.float64)
    assert torch.allclose(manifold.projx(x), torch.tensor([[1.0, 0, 0], [0, 0, -1.0]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("constraint", "dim", "ambient", "message"),
    [
        (lambda x: x[..., :1], 1, 3, "needs at least 2"),
        (lambda x: x[..., :1], 3, 3, "0 < dim < ambient_dim"),
        (lambda x: x.sum(), 2, None, "ambient_dim"),
        (lambda x: x.reshape(2, -1), 2, 3, "expected a map of rows"),
    ],
)
def test_constraints_are_checked(constraint, dim, ambient, message):
    with pytest.raises(InvalidInputError, match=message):
        ImplicitManifold(constraint, dim, ambient)


def test_the_given_network_is_left_alone():
    network = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))
    manifold = ImplicitManifold(network, 2, 3)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in network.parameters())
    assert not any(p.requires_grad for p in manifold.parameters())


def sphere_and_circle(x: Tensor) -> Tensor:
    """x - pi(x) for the unit sphere at 0 and a unit circle in the plane z = 0 around (4, 0, 0): rank 1 near the one, rank 2 near the other."""
    to_sphere = x * (1 - 1 / x.norm(dim=-1, keepdim=True))
    y = x - torch.tensor([4.0, 0.0, 0.0], dtype=x.dtype)
    flat = y * torch.tensor([1.0, 1.0, 0.0], dtype=x.dtype)
    to_circle = y - flat / flat.norm(dim=-1, keepdim=True)
    return torch.where(x[..., :1] < 2, to_sphere, to_circle)


def test_local_dimension_tells_pieces_apart(generator):
    direction = nn.functional.normalize(torch.randn(50, 3, generator=generator, dtype=torch.float64), dim=1)
    angle = 2 * math.pi * torch.rand(50, generator=generator, dtype=torch.float64)
    circle = torch.stack([4 + angle.cos(), angle.sin(), torch.zeros(50, dtype=torch.float64)], -1)
    manifold = ImplicitManifold(sphere_and_circle, 2, 3)
    assert manifold.local_dim(1.01 * direction).eq(2).all()
    assert manifold.local_dim(circle + 0.01).eq(1).all()


@pytest.mark.parametrize(("dim", "expected"), [(1, 1 / 2), (2, 4 / (3 * math.pi)), (3, 3 / 8)])
def test_half_ball_centroid(dim, expected):
    assert half_ball_centroid(dim) == pytest.approx(expected, rel=1e-12)


def test_a_gate_ends_a_plane_where_the_data_end(generator):
    """Data on the unit square of the plane z = 0: the gate's area is that of the square within 2 %, and projections beyond it do not count."""
    anchors = torch.cat([torch.rand(5000, 2, generator=generator, dtype=torch.float64), torch.zeros(5000, 1, dtype=torch.float64)], 1)
    manifold = ImplicitManifold(lambda x: x[..., 2:], 2, 3, gate=Gate(anchors, 0.05, 5))
    probe = torch.cat([1.4 * torch.rand(20_000, 2, generator=generator, dtype=torch.float64) - 0.2, torch.full((20_000, 1), 0.1, dtype=torch.float64)], 1)
    found = manifold.project(probe)
    inside = ((probe[:, :2] > 0) & (probe[:, :2] < 1)).all(-1)
    assert 1.96 * float(found.converged.double().mean()) == pytest.approx(1, abs=0.02)
    assert (found.converged == inside).double().mean() > 0.97
