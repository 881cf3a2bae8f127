"""Blended charts: derivatives in closed form, rows and charts that do not interact, coordinates only where a node is near."""

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.blended_charts import BlendedCharts
from topogen.manifolds.atlas.saved_atlas import build_cover, describe_cover
from topogen.manifolds.shapes import Circle


def arcs(order=None):
    """Two arcs of the unit circle, 1.2 pi long, with the angle from their middle as coordinate; the nodes of both in one order or another."""
    parts = []
    for k, middle in enumerate((0.0, torch.pi)):
        z = torch.linspace(-1.3 * 0.6 * torch.pi, 1.3 * 0.6 * torch.pi, 61, dtype=torch.float64).unsqueeze(1)
        angle = middle + z[:, 0]
        node, tangent = torch.stack([angle.cos(), angle.sin()], -1), torch.stack([-angle.sin(), angle.cos()], -1)
        back = torch.stack([tangent, -node / 2], -1)
        parts.append((node, torch.full((61,), k), z, tangent.unsqueeze(1), back, torch.full((61,), 0.2, dtype=torch.float64)))
    node, owner, value, tilt, back, support = (torch.cat(each) for each in zip(*parts, strict=True))
    rows = torch.arange(len(node)) if order is None else order
    centre = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    radius = torch.full((2,), 0.6 * torch.pi, dtype=torch.float64)
    numbers = {"node": node, "owner": owner, "value": value, "tilt": tilt, "back": back, "support": support}
    return BlendedCharts(centre, radius, 2 * torch.ones(2, dtype=torch.float64), **{name: number[rows] for name, number in numbers.items()})


def near_the_circle(n=50):
    generator = torch.Generator().manual_seed(0)
    x = Circle().sample(n, generator=generator)
    return x + 0.03 * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def test_coordinates_are_the_angle_and_lead_back():
    charts, x = arcs(), Circle().sample(400, generator=torch.Generator().manual_seed(1))
    atlas = Atlas(charts, Circle(), tau=torch.full((2,), 0.2, dtype=torch.float64), points=x)
    at = atlas.encode(x)
    assert at.found.all()
    angle = torch.atan2(x[:, 1], x[:, 0]) - at.chart * torch.pi
    angle = torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi
    torch.testing.assert_close(at.z[:, 0], angle, rtol=0, atol=2e-3)
    back = atlas.decode(at.chart, at.z)
    assert back.found.all()
    torch.testing.assert_close(back.points, x, rtol=0, atol=1e-8)


def test_the_slope_is_the_derivative():
    charts, x = arcs(), near_the_circle()
    chart = (x[:, 0] < 0).long()
    y = x.clone().requires_grad_(True)
    (by_autograd,) = torch.autograd.grad(charts.encode(chart, y).sum(), y)
    torch.testing.assert_close(charts.slope(chart, x)[:, 0], by_autograd, rtol=1e-10, atol=1e-10)
    h = 1e-6
    for i in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[i] = h
        difference = (charts.encode(chart, x + step) - charts.encode(chart, x - step)) / (2 * h)
        torch.testing.assert_close(charts.slope(chart, x)[:, :, i], difference, rtol=0, atol=1e-6)


def test_rows_and_the_order_of_nodes_do_not_matter():
    x = near_the_circle()
    chart = (x[:, 0] < 0).long()
    whole = arcs().encode(chart, x)
    singles = torch.cat([arcs().encode(chart[i : i + 1], x[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(whole, singles, rtol=0, atol=1e-12)
    shuffled = arcs(torch.randperm(122, generator=torch.Generator().manual_seed(2)))
    torch.testing.assert_close(shuffled.encode(chart, x), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(shuffled.decode(chart, whole), arcs().decode(chart, whole), rtol=0, atol=0)


def test_there_are_no_coordinates_where_no_node_of_the_chart_is_near():
    charts = arcs()
    x = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    z = charts.encode(torch.tensor([0, 0, 0]), x)
    assert torch.isnan(z[0]).all() and torch.isfinite(z[1]).all() and torch.isnan(z[2]).all()
    assert Atlas(charts, Circle(), points=x[:2]).members(x).row.tolist() == [0, 1]


def test_parts_of_it_and_files_keep_its_bits():
    charts, x = arcs(), near_the_circle()
    right = x[x[:, 0] < -0.2]
    ones, zeros = torch.ones(len(right), dtype=torch.int64), torch.zeros(len(right), dtype=torch.int64)
    assert torch.equal(charts.subset(torch.tensor([1])).encode(zeros, right), charts.encode(ones, right))
    smaller = charts.trimmed(charts.radius / 2)
    assert torch.equal(smaller.encode(ones, right), charts.encode(ones, right)) and not torch.equal(smaller.radius, charts.radius)
    atlas = Atlas(charts, Circle(), points=x)
    again = build_cover(*describe_cover(atlas), Circle())
    assert torch.equal(again.charts.encode(ones, right), charts.encode(ones, right))


def test_wrong_arguments_are_named():
    numbers = {name: getattr(arcs(), name) for name in ("node", "owner", "value", "tilt", "back", "support")}
    place = arcs().centre, arcs().radius, arcs().extent
    with pytest.raises(InvalidInputError, match="support: expected positive"):
        BlendedCharts(*place, **(numbers | {"support": torch.zeros(122, dtype=torch.float64)}))
    with pytest.raises(InvalidInputError, match="owner: expected every chart"):
        BlendedCharts(*place, **(numbers | {"owner": torch.zeros(122, dtype=torch.int64)}))
    with pytest.raises(InvalidInputError, match="tilt: expected shape"):
        BlendedCharts(*place, **(numbers | {"tilt": numbers["tilt"][:5]}))
    with pytest.raises(InvalidInputError, match="no sheets of their own"):
        Atlas(arcs())
