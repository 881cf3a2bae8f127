"""Nerves of covers of shapes against their Betti numbers; covers that are too coarse are said not to be good."""

import json
import math

import pytest
import torch
from covers import cover

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.manifolds.shapes import get
from topogen.topology.covers.intersections import intersections
from topogen.topology.covers.nerve import nerve


def nerve_of(c, **options):
    return nerve(c.members, c.dim, points=c.points, coordinates=c.coordinates, **options)


def circle(n=2000):
    angle = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
    return angle, torch.stack([angle.cos(), angle.sin()], 1)


def arcs(count, width):
    """Arcs of half width `width` around equally spaced angles, and the sample."""
    angle, points = circle()
    middle = torch.arange(count, dtype=torch.float64) * 2 * math.pi / count
    return (torch.remainder(angle.unsqueeze(1) - middle + math.pi, 2 * math.pi) - math.pi).abs() < width, points


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [1.15, 1.35])
@pytest.mark.parametrize(
    ("name", "charts"),
    [("sphere", 30), ("torus", 80), ("klein_bottle", 60), ("klein_bottle", 120), ("projective_plane", 30), ("projective_plane", 60), ("moebius_band", 40)],
)
def test_good_covers_have_the_homology_of_the_shape(name, charts, factor, seed):
    found = nerve_of(cover(name, charts, factor, seed))
    shape = get(name)
    padded = {p: (*shape.betti(p), *(0,) * shape.dim)[: shape.dim + 1] for p in (2, 3)}
    assert found.betti == padded
    assert found.good, found.to_text()
    assert found.euler == sum((-1) ** j * b for j, b in enumerate(padded[2]))
    assert found.thinnest >= 1


def test_genus_two():
    found = nerve_of(cover("genus_two", 120, 1.25, n=40_000))
    assert found.betti == {2: (1, 4, 1), 3: (1, 4, 1)}
    assert found.good
    assert found.euler == -2


def test_two_spheres_and_a_three_manifold_without_holes_looked_at():
    assert nerve_of(cover("two_spheres", 40, 1.25)).betti[2] == (2, 0, 2)
    c = cover("special_orthogonal", 60, 1.25, n=10_000)
    found = nerve(c.members, 3, points=c.points)
    assert found.betti == {2: (1, 1, 1, 1), 3: (1, 0, 0, 1)}
    assert found.good is None
    assert "pass coordinates" in found.to_text()


def test_samples_too_sparse_for_the_overlaps_are_not_called_good():
    c = cover("special_orthogonal", 60, 1.15, n=10_000)
    found = nerve_of(c)
    assert found.betti[2] == (1, 1, 2, 0)
    assert found.good is False
    assert found.seams > 0
    assert found.euler is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [1.15, 1.35])
def test_a_cover_too_coarse_for_the_tube_is_not_good(factor, seed):
    found = nerve_of(cover("torus", 20, factor, seed))
    assert found.good is False
    assert found.folded
    assert found.euler is None
    assert "NOT a good cover" in found.to_text()


def test_three_arcs_are_a_good_cover_of_the_circle():
    members, points = arcs(3, 1.3)
    found = nerve(members, 1, points=points)
    assert found.betti == {2: (1, 1), 3: (1, 1)}
    assert found.simplices == (3, 3, 0)
    assert (found.good, found.euler, found.euler_from) == (True, 0, "the nerve")


def test_two_arcs_are_not_but_inclusion_exclusion_knows():
    members, points = arcs(2, 1.9)
    found = nerve(members, 1, points=points)
    assert found.betti[2] == (1, 0)
    assert found.good is False
    assert [tuple(b) for b in found.bad] == [((0, 1), (2,))]
    assert (found.euler, found.euler_from) == (0, "inclusion-exclusion")


def test_two_bands_around_a_torus_meet_in_two_annuli():
    u, v = torch.rand(2, 20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
    points = torch.stack([u.cos(), u.sin(), v.cos(), v.sin()], 1)
    members = torch.stack([u.cos() > -0.3, u.cos() < 0.3], 1)
    turned = torch.stack([torch.remainder(u + math.pi, 2 * math.pi) - math.pi, u], 1)

    def annulus(k, rows):
        radius = 2 + 0.5 * (turned[rows, k] - k * math.pi)
        return radius.unsqueeze(1) * points[rows, 2:]

    found = nerve(members, 2, points=points, coordinates=annulus)
    assert found.good is False
    assert {b.charts: b.betti for b in found.bad} == {(0,): (1, 1), (1,): (1, 1), (0, 1): (2, 2)}
    assert (found.euler, found.euler_from) == (0, "inclusion-exclusion")


def test_charts_that_only_touch_leave_a_seam():
    angle, points = circle()
    found = nerve(torch.stack([angle < 3, angle >= 3], 1), 1, points=points)
    assert found.seams > 0
    assert found.good is False
    assert "overlap too little" in found.to_text()


def test_a_chart_that_is_not_one_to_one_is_named():
    c = cover("sphere", 30, 1.25)
    found = nerve(c.members, 2, points=c.points, coordinates=lambda k, rows: c.coordinates(k, rows).abs() if k == 7 else c.coordinates(k, rows))
    assert found.folded == (7,)
    assert found.good is False


def test_intersections_count_their_samples():
    c = cover("sphere", 30, 1.25)
    layers = intersections(c.points, c.members, 2, c.coordinates)
    for layer in layers:
        s = len(layer.charts) // 2
        assert layer.samples[s] == c.members[:, layer.charts[s]].all(1).sum()
        assert (layer.betti[:, 0] == 1).all()
    assert (layers[1].betti[:, 1] == 0).all()
    assert (layers[2].betti[:, 1] == -1).all()


def test_the_nerve_alone_is_not_judged():
    found = nerve(cover("sphere", 30, 1.25).members, 2, fields=(5,))
    assert found.betti == {5: (1, 0, 1)}
    assert found.good is None
    assert json.loads(json.dumps(found.to_dict()))["betti"] == {"5": [1, 0, 1]}


def test_the_order_of_samples_and_charts_does_not_matter():
    c = cover("torus", 80, 1.25)
    rows = torch.randperm(len(c.points), generator=torch.Generator().manual_seed(0))
    first, second = nerve_of(c), nerve(c.members[rows].flip(1), 2, points=c.points[rows], coordinates=lambda k, i: c.coordinates(79 - k, rows[i]))
    assert (first.betti, first.simplices, first.good, first.thinnest) == (second.betti, second.simplices, second.good, second.thinnest)


def test_inputs_are_not_touched_and_results_are_json():
    c = cover("torus", 20, 1.15)
    before = c.members.clone(), c.points.clone()
    document = json.loads(json.dumps(nerve_of(c).to_dict()))
    assert document["good"] is False
    assert document["bad"][0]["betti"]
    assert torch.equal(before[0], c.members)
    assert torch.equal(before[1], c.points)


def test_bad_input_is_named():
    members = torch.ones(10, 3, dtype=torch.bool)
    with pytest.raises(InvalidInputError, match="members: expected a boolean tensor"):
        nerve(members.float(), 2)
    with pytest.raises(InvalidInputError, match="members: expected a boolean tensor"):
        nerve(members[0], 2)
    with pytest.raises(InvalidInputError, match="at least one sample and one chart"):
        nerve(members[:, :0], 2)
    with pytest.raises(InvalidInputError, match="1 of 10 samples lie in no chart .first: row 4"):
        nerve(members & (torch.arange(10) != 4).unsqueeze(1), 2)
    with pytest.raises(InvalidInputError, match="1 charts hold no sample .first: chart 2"):
        nerve(members & (torch.arange(3) < 2), 2)
    with pytest.raises(InvalidInputError, match="dim: expected"):
        nerve(members, 0)
    with pytest.raises(InvalidInputError, match="fields: Z/p needs a prime p, found 4"):
        nerve(members, 2, fields=(4,))
    with pytest.raises(InvalidInputError, match="fields: expected at least one"):
        nerve(members, 2, fields=())
    with pytest.raises(InvalidInputError, match="points: expected one row for each of the 10"):
        nerve(members, 2, points=torch.rand(9, 3))
    with pytest.raises(InvalidInputError, match="points: 1 of 10 rows are not finite"):
        nerve(members, 2, points=torch.rand(10, 3).index_fill_(0, torch.tensor([3]), math.nan))
    points = torch.rand(10, 3)
    with pytest.raises(InvalidInputError, match="coordinates: expected shape .10, 2."):
        nerve(members, 2, points=points, coordinates=lambda k, rows: points[rows])
    with pytest.raises(InvalidInputError, match="coordinates: chart 0 gives"):
        nerve(members, 2, points=points, coordinates=lambda k, rows: points[rows, :2] * math.nan)


def test_too_many_intersections_are_refused_before_they_are_listed():
    with pytest.raises(BudgetExceeded, match="200 in one sample"):
        nerve(torch.ones(5, 200, dtype=torch.bool), 2)
