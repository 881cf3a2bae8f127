"""Good covers: how many charts they take, what they hold, and what they object to."""

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.learning.atlas.good_cover import FLATTEST, chart_cover, good_cover
from topogen.manifolds.shapes import Circle, KleinBottle, Sphere, Torus


def samples(shape, n=20_000):
    return shape.sample(n, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [Circle(), Sphere(2), Torus(), pytest.param(KleinBottle(), marks=pytest.mark.slow)], ids=lambda shape: shape.name)
def test_a_good_cover_holds_everything_and_no_chart_turns_away(shape):
    cover = good_cover(samples(shape), shape.dim, shape)
    assert cover.flattest >= FLATTEST and cover.lost == 0
    assert all(flattest < FLATTEST or said for _, flattest, said in cover.tried)
    fresh = shape.sample(3000, generator=torch.Generator().manual_seed(1))
    assert cover.atlas.encode(fresh).found.all()


def test_too_few_charts_are_seen():
    cover = chart_cover(samples(Torus()), 2, 24, Torus())
    assert cover.flattest < FLATTEST or cover.lost > 0


def test_own_sheets_reproduce_unseen_points():
    shape = Sphere(2)
    cover = good_cover(samples(shape, 8000), 2, accuracy=1e-3 * shape.diameter)
    fresh = shape.sample(2000, generator=torch.Generator().manual_seed(1))
    found = cover.atlas.project(fresh)
    assert found.converged.all()
    assert (found.points - fresh).square().sum(-1).mean().sqrt() < 3e-3 * shape.diameter


def test_an_objection_asks_for_more_charts():
    few = good_cover(samples(Sphere(2)), 2, Sphere(2))
    more = good_cover(samples(Sphere(2)), 2, Sphere(2), accept=lambda cover: "too few" if cover.atlas.count < 40 else "")
    assert few.atlas.count < 40 <= more.atlas.count and more.tried[0][2] == "too few"


def test_what_cannot_be_covered_is_refused_with_a_number():
    with pytest.raises(InvalidInputError, match="give at least 720"):
        good_cover(samples(Torus(), 500), 2, Torus())
    cross = torch.cat([samples(Circle(), 2000), samples(Circle(), 2000) + torch.tensor([1.0, 0.0], dtype=torch.float64)])
    with pytest.raises(InvalidInputError, match="charts"):
        good_cover(cross, 1, accuracy=1e-3, most=200)
