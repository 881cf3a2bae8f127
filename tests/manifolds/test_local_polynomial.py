"""Tables of manifolds against the manifolds they stand in for."""

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import shapes
from topogen.manifolds.local_polynomial import fit_local_polynomials


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def table_of(name: str, n: int = 8000):
    shape = shapes.get(name)
    return shape, fit_local_polynomials(shape.sample(n, seeded()), shape.dim)


@pytest.mark.parametrize("name", ["circle", "trefoil_knot", "sphere", "torus", "klein_bottle", "projective_plane", "two_spheres"])
def test_points_tangents_and_curvature_are_those_of_the_shape(name):
    shape, table = table_of(name)
    x = shape.sample(500, seeded(1))
    off = x + 0.02 * torch.randn(x.shape, generator=seeded(2), dtype=x.dtype)
    found = table.project(off)
    assert bool(found.converged.all())
    assert float((found.points - shape.project(off).points).norm(dim=1).quantile(0.99)) < 3e-3 * shape.diameter / 10
    basis, form = table.tangent_and_second_form(x)
    tilt = basis - shape.tangent_basis(x) @ (shape.tangent_basis(x).mT @ basis)
    assert float(tilt.norm(dim=(1, 2)).quantile(0.99)) < 2e-2
    bend = shape.mean_curvature(x)
    missed = form.diagonal(dim1=-2, dim2=-1).sum(-1) - bend
    assert float(missed.norm(dim=1).median() / bend.norm(dim=1).median()) < 2e-2


def test_the_error_falls_with_the_fourth_power_of_the_spacing():
    """Four times the points, half the spacing, a sixteenth of the error; twice as much is allowed."""
    coarse, fine = (table_of("sphere", n)[1] for n in (1000, 4000))
    x = shapes.get("sphere").sample(2000, seeded(1))
    missed = [float((t.project(x).points - x).norm(dim=1).median()) for t in (coarse, fine)]
    assert missed[1] < missed[0] / 8
    assert 0 < fine.error < coarse.error


def test_far_points_do_not_converge_and_bases_are_orthonormal():
    _, table = table_of("moebius_band", 3000)
    edge = table.project(torch.tensor([[5.0, 5.0, 0.0]], dtype=torch.float64))
    assert not bool(edge.converged.any())
    basis = table.tangent_basis(table.points[:50])
    assert torch.allclose(basis.mT @ basis, torch.eye(2, dtype=torch.float64).expand(50, 2, 2), atol=1e-12)


def test_projection_is_differentiable_and_keeps_the_dtype():
    _, table = table_of("sphere", 3000)
    x = shapes.get("sphere").sample(5, seeded(1)).float().requires_grad_()
    found = table.project(x).points
    assert found.dtype == torch.float32
    (slope,) = torch.autograd.grad(found[:, 0].sum(), x)
    assert float((slope * x.detach()).sum(1).abs().max()) < 1e-2


def test_what_cannot_be_tabulated_is_refused():
    with pytest.raises(InvalidInputError, match="up to dimension 3"):
        fit_local_polynomials(torch.randn(100, 8, generator=seeded()), 4)
    with pytest.raises(InvalidInputError, match="too few"):
        fit_local_polynomials(torch.randn(10, 3, generator=seeded()), 2)


def test_a_table_that_is_given_other_sheets_finds_them():
    circle = shapes.get("circle")
    one, other = (fit_local_polynomials(circle.sample(400, torch.Generator().manual_seed(seed)), 1) for seed in (0, 1))
    x = circle.sample(50, torch.Generator().manual_seed(2))
    one.load_state_dict(other.state_dict())
    assert torch.equal(one.labels(x), other.labels(x))


@pytest.mark.parametrize("ambient", [3, 30])
def test_points_that_are_not_finite_have_no_foot(ambient):
    table = fit_local_polynomials(torch.nn.functional.pad(shapes.get("circle").sample(400, torch.Generator().manual_seed(0)), (0, ambient - 2)), 1)
    x = table.points[:3].clone()
    x[1, 0], x[2, 0] = torch.nan, torch.inf
    assert table._project(x).converged.tolist() == [True, False, False]
