"""The section of a local polynomial constraint: exact tangents, closest points that are closest, derivatives, the laws of a manifold."""

import functools

import pytest
import torch

from tests.manifolds.implicit.test_local_constraint import klein_bottle, near, plates, seeded
from topogen.learning.implicit.fit_local import fit_local_constraint
from topogen.manifolds import ImplicitManifold, shapes
from topogen.testing import ManifoldLaws


@functools.cache
def bottle():
    return ImplicitManifold(klein_bottle(), 2, predictor_steps=1)


@functools.cache
def sphere():
    return ImplicitManifold(fit_local_constraint(shapes.Sphere(2).sample(2000, seeded(15)), 2, generator=seeded(16)).constraint, 2, predictor_steps=1)


def test_tangents_are_those_of_secants_of_the_projection():
    """Below 1e-4 degrees: the change of the projector is part of the tangents."""
    manifold = ImplicitManifold(klein_bottle(), 2, predictor_steps=1, scale=1e-3)
    x = manifold.projx(near(200, 1, 0.0))
    tangent, h = manifold.tangent_basis(x), 1e-3
    for i in range(2):
        ahead, behind = (manifold.project(x + sign * h * tangent[..., i]).points for sign in (1, -1))
        secant = (ahead - behind) / (2 * h)
        off = secant - (tangent @ (tangent.mT @ secant.unsqueeze(-1))).squeeze(-1)
        assert torch.rad2deg(off.norm(dim=1)).max() < 1e-4


def test_without_the_change_of_the_projector_tangents_are_off():
    """The planted defect of the test above: the kernel of Q^t J alone, on noisy sheets, which disagree more."""
    noisy = near(2000, 2, 0.03)
    manifold = ImplicitManifold(fit_local_constraint(noisy, 2, generator=seeded(3)).constraint, 2, predictor_steps=1)
    x = manifold.projx(near(100, 4, 0.0))
    exact = manifold.tangent_basis(x)
    axes = manifold.constraint.blend(x)
    kept = torch.linalg.eigh(axes.gathered(axes.weight[:, None, None] * (axes.normal @ axes.normal.mT)))[1][..., 2:]
    rows = kept.mT @ manifold.constraint.value_and_jacobian(x)[1]
    assert torch.rad2deg((rows @ exact).norm(dim=(1, 2)).max()) > 1e-3


def test_a_projection_is_a_zero_and_its_offset_is_normal():
    x = near(500, 5, 0.06)
    found = bottle().project(x)
    offset = x - found.points
    along = (bottle().tangent_basis(found.points).mT @ offset.unsqueeze(-1)).squeeze(-1)
    assert found.converged.all() and found.residual.max() <= bottle().tolerance(torch.float64)
    assert along.norm(dim=1).max() < 1e-8
    assert (bottle().kept_residual(found.points) - found.residual).abs().max() < 1e-12


def test_no_point_near_the_closest_one_is_closer():
    x = near(100, 6, 0.06)
    z = bottle().project(x).points
    for seed in range(8):
        moved = bottle().with_fast_projection().project(z + 0.01 * torch.randn(z.shape, generator=seeded(seed), dtype=z.dtype)).points
        assert ((moved - x).norm(dim=1) > (z - x).norm(dim=1) - 1e-12).all()


def test_the_derivative_is_that_of_differences():
    x, h = near(30, 7, 0.05), 1e-5
    y = x.clone().requires_grad_(True)
    point = bottle().project(y).points
    rows = torch.stack([torch.autograd.grad(point[:, i].sum(), y, retain_graph=True)[0] for i in range(4)], 1)
    differences = torch.stack([(bottle().project(x + h * e).points - bottle().project(x - h * e).points) / (2 * h) for e in torch.eye(4, dtype=x.dtype)], -1)
    assert (rows - differences).abs().max() < 1e-4


def test_the_fast_projection_ends_on_the_same_set():
    x = near(200, 8, 0.05)
    fast = bottle().with_fast_projection().project(x)
    assert fast.converged.all() and (bottle().project(fast.points).points - fast.points).norm(dim=1).max() < 1e-8


def test_the_rank_is_clear():
    found = bottle().project(near(300, 12))
    values = bottle().spectrum(found.points)
    assert found.converged.all() and values[:, 1].min() > 0.98 and values[:, 2].max() < 0.02
    assert (bottle().local_dim(found.points) == 2).all()


def test_far_points_come_to_the_nearest_sheet():
    far = 3 * shapes.Sphere(2).sample(50, seeded(13))
    found = sphere().project(far)
    assert not klein_bottle().covered(5 * near(5, 14)).any()
    assert found.converged.all() and (found.points - shapes.Sphere(2).project(far).points).norm(dim=1).max() < 1e-3


def test_nan_rows_and_empty_batches():
    found = sphere().project(torch.tensor([[torch.nan, 0, 0], [1.1, 0, 0]], dtype=torch.float64))
    assert found.converged.tolist() == [False, True]
    assert sphere().project(torch.empty(0, 3, dtype=torch.float64)).points.shape == (0, 3)


@pytest.mark.parametrize("gap", [0.3, 0.5, 1.0, 2.0])
def test_between_two_plates_there_is_no_ghost(gap):
    """Gaps in units of the support; points between them come to the nearer plate."""
    manifold = ImplicitManifold(plates(gap), 2, predictor_steps=1)
    x = torch.rand(1000, 3, generator=seeded(17), dtype=torch.float64) * torch.tensor([2, 2, gap]) - torch.tensor([1.0, 1, 0])
    found = manifold.project(x)
    nearer = torch.where(x[:, 2] < gap / 2, 0.0, gap)
    assert found.converged.all() and (found.points[:, 2] - nearer).abs().max() < 1e-9


def test_blind_supports_make_a_ghost_between_plates():
    """The planted defect of the test above: supports as high as they are wide."""
    f = plates(0.3)
    f = type(f)(f.charts, f.support)
    x = torch.tensor([[0.1, 0.2, 0.15]], dtype=torch.float64)
    found = ImplicitManifold(f, 2, predictor_steps=1).project(x)
    assert (found.points[:, 2] - 0.15).abs() < 0.02


class TestLocalSphere(ManifoldLaws):
    scale = 0.1
    # Third derivatives jump at the edges of supports, by as much as neighbouring sheets disagree.
    smoothness = 5e-3
    optimise = False

    def manifold(self):
        return sphere()

    def points(self, n, generator):
        return sphere().projx(shapes.Sphere(2).sample(n, generator))
