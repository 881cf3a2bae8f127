"""Local polynomial constraints from points: as near as the table of the same points, outside of any list, in any unit and order."""

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.learning.implicit.bandwidth import Bandwidth
from topogen.learning.implicit.fit_local import _enough, fit_local_constraint
from topogen.manifolds import ImplicitManifold, fit_local_polynomials, shapes


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def learned(points, dim, seed=3, **options):
    return ImplicitManifold(fit_local_constraint(points, dim, generator=seeded(seed)).constraint, dim, predictor_steps=1, **options)


@pytest.mark.parametrize("name", ["circle", "linked_circles", "trefoil_knot", "sphere", "torus", "klein_bottle", "projective_plane"])
def test_clean_points_give_what_the_table_of_them_gives(name):
    """The simplest thing beside it in the same run: one cubic sheet per point."""
    shape = shapes.get(name)
    points, truth = shape.sample(3000, seeded(1)), shape.sample(500, seeded(2))
    found = learned(points, shape.dim).project(truth)
    table = (fit_local_polynomials(points, shape.dim).project(truth).points - truth).norm(dim=1).mean()
    assert found.converged.all()
    assert (found.points - truth).norm(dim=1).mean() <= 2 * table + 1e-9 * shape.diameter


@pytest.mark.parametrize("p,q", [(2, 5), (3, 4), (2, 7)])
def test_torus_knots(p, q):
    """Outside of the shapes: curves on which trained constraints broke."""
    t = 2 * torch.pi * torch.rand(4000, generator=seeded(4), dtype=torch.float64)
    knot = torch.stack([(2 + torch.cos(q * t)) * torch.cos(p * t), (2 + torch.cos(q * t)) * torch.sin(p * t), torch.sin(q * t)], 1)
    found = learned(knot[:3000], 1).project(knot[3000:])
    assert found.converged.all() and (found.points - knot[3000:]).norm(dim=1).max() < 1e-4


@pytest.mark.parametrize("ratio", [0.1, 0.6])
def test_thin_and_fat_tori(ratio):
    u, v = 2 * torch.pi * torch.rand(2, 6000, generator=seeded(5), dtype=torch.float64)
    points = torch.stack([(1 + ratio * v.cos()) * u.cos(), (1 + ratio * v.cos()) * u.sin(), ratio * v.sin()], 1)
    found = learned(points[:5000], 2).project(points[5000:])
    off = (found.points - points[5000:]).norm(dim=1)
    assert found.converged.all() and off.mean() < 5e-4 * 2 * (1 + ratio)


@pytest.mark.parametrize("gap", [1.0, 2.0])
def test_points_of_two_plates_have_nothing_between_them(gap):
    """Gaps in units of the support; at most one point in two hundred ends elsewhere than on a plate."""
    flat = 2 * torch.rand(2000, 2, generator=seeded(6), dtype=torch.float64) - 1
    radius = float(fit_local_constraint(torch.cat([flat, torch.zeros(2000, 1, dtype=torch.float64)], 1), 2, generator=seeded(7)).constraint.support.median())
    side = torch.where(torch.arange(4000) % 2 == 0, gap * radius / 2, -gap * radius / 2).double()
    more = 2 * torch.rand(4000, 2, generator=seeded(8), dtype=torch.float64) - 1
    across = gap * radius * (torch.rand(500, 1, generator=seeded(11), dtype=torch.float64) - 0.5)
    starts = torch.cat([0.8 * (2 * torch.rand(500, 2, generator=seeded(10), dtype=torch.float64) - 1), across], 1)
    found = learned(torch.cat([more, side.unsqueeze(1)], 1), 2).project(starts)
    off = (found.points[found.converged][:, 2].abs() - gap * radius / 2).abs()
    assert found.converged.double().mean() > 0.99 and (off > 0.05 * gap * radius).double().mean() <= 0.005


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_change_nothing_but_units(factor):
    points, probes = shapes.get("torus").sample(1500, seeded(12)), 1.05 * shapes.get("torus").sample(100, seeded(13))
    one, other = (learned(f * points, 2, scale=f) for f in (1.0, factor))
    assert (other.project(factor * probes).points / factor - one.project(probes).points).abs().max() < 1e-6


def test_the_order_of_columns_and_a_turn_change_little():
    points, probes = shapes.get("klein_bottle").sample(3000, seeded(14)), shapes.get("klein_bottle").sample(200, seeded(15))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=seeded(16), dtype=torch.float64)).Q
    for change in (torch.eye(4, dtype=torch.float64)[[2, 0, 3, 1]], turn):
        one, other = learned(points, 2).project(probes).points, learned(points @ change.T, 2).project(probes @ change.T).points
        assert (one @ change.T - other).norm(dim=1).max() < 1e-3 and (one @ change.T - other).norm(dim=1).median() < 1e-6


def test_noise_is_averaged_away():
    """At 1 % of the diameter the mean distance of true points is below a fifth of the noise; the points themselves are .8 off."""
    torus = shapes.get("torus")
    noise = 0.01 * torus.diameter
    points = torus.sample(5000, seeded(17))
    points = points + noise * torch.randn(points.shape, generator=seeded(18), dtype=points.dtype)
    truth = torus.sample(500, seeded(19))
    assert (learned(points, 2).project(truth).points - truth).norm(dim=1).mean() < 0.2 * noise


def test_strays_carry_no_sheets():
    circle = shapes.get("circle").sample(500, seeded(20))
    strays = torch.tensor([[3.0, 0.0], [0.0, 0.1]], dtype=torch.float64)
    found = learned(torch.cat([circle, strays]), 1).project(circle)
    assert (found.points - circle).norm(dim=1).max() < 1e-3


def test_wrong_arguments():
    with pytest.raises(InvalidInputError, match="too few"):
        fit_local_constraint(shapes.get("circle").sample(6, seeded(18)), 1)
    with pytest.raises(InvalidInputError, match="up to dimension 4"):
        fit_local_constraint(torch.randn(500, 8, dtype=torch.float64), 5)


def test_wide_neighbourhoods_take_fewer_sheets_and_leave_no_more_error():
    """A noisy circle: with as many sheets as a clean one has, every point is within the support of many that say the same."""
    on, truth = shapes.get("circle").sample(3000, seeded(20)), shapes.get("circle").sample(500, seeded(21))
    noisy = on + 0.02 * torch.randn(on.shape, generator=seeded(22), dtype=torch.float64)
    many, few = (fit_local_constraint(points, 1, generator=seeded(23)).constraint for points in (on, noisy))
    assert few.charts.count < many.charts.count
    off = (ImplicitManifold(few, 1, predictor_steps=1).project(truth).points - truth).norm(dim=1)
    assert off.mean() < 0.15 * 0.02


def test_the_smallest_neighbourhoods_decide_how_many_sheets_there_are():
    """Detail in one place keeps the net as fine as it needs, however flat the rest is."""
    anchors = torch.rand(400, 2, generator=seeded(24), dtype=torch.float64)
    flat, fine = torch.full((400,), 2), torch.where(anchors[:, 0] < 0.2, 0, 2)
    wide, some = (_enough(10_000, 2, Bandwidth(anchors, step, (20, 200, 2000), 0.0)) for step in (flat, fine))
    assert wide == 8 * 10_000 * 4 / 2000 and some == 8 * 10_000 * 4 / 20
