"""The blend of local polynomial sheets: closed-form derivatives against differences, smooth where supports begin and end, nothing outside of them."""

import copy
import functools

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.learning.implicit.fit_local import fit_local_constraint
from topogen.manifolds import shapes
from topogen.manifolds.atlas.graph_charts import GraphCharts
from topogen.manifolds.implicit.local_constraint import LocalPolynomialConstraint


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@functools.cache
def klein_bottle():
    return fit_local_constraint(shapes.get("klein_bottle").sample(2000, seeded(1)), 2, generator=seeded(2)).constraint


def near(n, seed, size=0.02):
    x = shapes.get("klein_bottle").sample(n, seeded(seed))
    return x + size * torch.randn(x.shape, generator=seeded(seed + 1), dtype=x.dtype)


def test_the_jacobian_is_that_of_differences_and_of_autograd():
    f, x, h = klein_bottle(), near(60, 3), 1e-6
    value, rows = f.value_and_jacobian(x)
    differences = torch.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in torch.eye(4, dtype=x.dtype)], -1)
    assert f.covered(x).all() and (value - f(x)).abs().max() < 1e-15
    assert (rows - differences).abs().max() < 1e-8
    y = x.clone().requires_grad_(True)
    auto = torch.stack([torch.autograd.grad(f(y)[:, i].sum(), y)[0] for i in range(4)], 1)
    assert (auto - rows).abs().max() < 1e-12


def test_transforms_of_functions_see_the_same_derivatives():
    f, x = klein_bottle(), near(10, 3)
    rows, v = f.value_and_jacobian(x)[1], torch.randn(10, 4, generator=seeded(5), dtype=x.dtype)
    assert (torch.func.jvp(f, (x,), (v,))[1] - (rows @ v.unsqueeze(2)).squeeze(2)).abs().max() < 1e-12
    assert (torch.func.vjp(f, x)[1](v)[0] - (rows.mT @ v.unsqueeze(2)).squeeze(2)).abs().max() < 1e-12


def test_the_jacobian_where_supports_are_thin():
    """Two plates: the weights end at half the gap between them."""
    f, h = plates(0.3), 1e-6
    x = 0.4 * torch.rand(40, 3, generator=seeded(4), dtype=torch.float64) * torch.tensor([1, 1, 0.2])
    rows = f.value_and_jacobian(x)[1]
    differences = torch.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in torch.eye(3, dtype=x.dtype)], -1)
    assert f.covered(x).all() and (rows - differences).abs().max() < 1e-7


def test_the_bends_are_second_differences_of_the_heights():
    f, x, h = klein_bottle(), near(20, 5), 1e-4
    at = f.blend(x)
    weight = torch.randn(at.height.shape, generator=seeded(6), dtype=x.dtype)
    z = torch.stack([at.basis[:, 1], at.basis[:, 2]], 1) * f.charts.radius[at.sheet, None]
    z = z[:, [1, 0]] if (f.charts.encode(at.sheet, x[at.row]) - z).abs().max() > 1e-9 else z
    rise = lambda w: (f.charts.rise(at.sheet, w) * weight).sum(1)  # noqa: E731
    units = h * torch.eye(2, dtype=x.dtype)
    expected = torch.stack(
        [torch.stack([(rise(z + a + b) - rise(z + a - b) - rise(z - a + b) + rise(z - a - b)) / (4 * h * h) for b in units], -1) for a in units], 1
    )
    assert (f.bends(at, weight) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_f_and_its_jacobian_have_no_jumps_where_supports_begin_and_end():
    """Along a line through many supports, steps a hundred times finer change J a hundred times less."""
    f, shape = klein_bottle(), shapes.get("klein_bottle")
    start, end = near(2, 8, 0.0)
    lines = [torch.linspace(0, 1, n, dtype=torch.float64)[:, None] for n in (101, 10_001)]
    coarse, fine = (f.value_and_jacobian(shape.project(start + t * (start - end) * 0.05).points)[1] for t in lines)
    assert fine.diff(dim=0).norm(dim=(1, 2)).max() < 0.02 * coarse.diff(dim=0).norm(dim=(1, 2)).max()


def test_a_batch_has_the_values_of_its_rows_and_order_changes_no_bit():
    f, x = klein_bottle(), torch.cat([near(10, 10), 5 * near(3, 11)])
    value, rows = f.value_and_jacobian(x)
    alone = [f.value_and_jacobian(row.unsqueeze(0)) for row in x]
    assert (value - torch.cat([v for v, _ in alone])).abs().max() < 1e-12 and (rows - torch.cat([r for _, r in alone])).abs().max() < 1e-11
    order = torch.randperm(len(x), generator=seeded(12))
    assert torch.equal(f(x[order]), f(x)[order])


def test_there_are_no_zeros_outside_of_the_supports():
    f = klein_bottle()
    x = 6 * torch.rand(4000, 4, generator=seeded(13), dtype=torch.float64) - 3
    outside = ~f.covered(x)
    assert outside.sum() > 1000 and f(x[outside]).norm(dim=1).min() > 1e-3
    # x - F(x) is a point of a sheet, in its support.
    assert f.covered((x - f(x))[outside]).all()


def test_in_a_hull_the_directions_outside_are_linear():
    """A circle in a plane of R^5: F is the offset off the plane there, and the sheets know the plane alone."""
    basis = torch.linalg.qr(torch.randn(5, 5, generator=seeded(14), dtype=torch.float64)).Q
    plane = fit_local_constraint(shapes.get("circle").sample(200, seeded(15)), 1, generator=seeded(16)).constraint
    mean = torch.arange(5.0, dtype=torch.float64)
    f = LocalPolynomialConstraint(plane.charts, plane.support, plane.thickness, mean=mean, hull=basis[:, :2])
    y = 1.1 * shapes.get("circle").sample(20, seeded(17))
    x = mean + y @ basis[:, :2].T + 0.3 * basis[:, 3]
    assert (f(x) - plane(y) @ basis[:, :2].T - 0.3 * basis[:, 3]).abs().max() < 1e-12


def test_a_copy_and_a_state_are_the_same_function():
    f, x = klein_bottle(), near(20, 18)
    other = copy.deepcopy(f)
    assert torch.equal(other(x), f(x)) and other.charts.centre.data_ptr() != f.charts.centre.data_ptr()
    assert sorted(f.state_dict()) == sorted(["support", "thickness", "mean", "hull", "outside", *(f"charts.{name}" for name in f.charts.state_dict())])


@pytest.mark.parametrize("support", [torch.ones(3), torch.zeros(500), torch.full((500,), torch.nan)])
def test_wrong_supports(support):
    with pytest.raises(InvalidInputError, match="support"):
        LocalPolynomialConstraint(klein_bottle().charts, support)


def test_a_hull_of_another_space():
    with pytest.raises(InvalidInputError, match="hull"):
        LocalPolynomialConstraint(klein_bottle().charts, klein_bottle().support, hull=torch.eye(7, dtype=torch.float64))


def plates(gap):
    """Flat sheets over a square grid at heights 0 and `gap`, supports of one unit, each ending half way to the other plate."""
    grid = torch.cartesian_prod(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0)).double() / 2
    centre = torch.cat([torch.cat([grid, torch.full((len(grid), 1), height)], 1) for height in (0.0, gap)]).double()
    tangent = torch.eye(3, dtype=torch.float64)[:, :2].expand(len(centre), 3, 2)
    one = torch.ones(len(centre), dtype=torch.float64)
    return LocalPolynomialConstraint(GraphCharts(centre, tangent, one, degree=2), one, (gap / 2) * one)
