"""Disc atlases: few charts that hold everything, with coordinates that come back and the right volume."""

import pytest
import torch

from topogen.distributions import Uniform
from topogen.errors import InvalidInputError
from topogen.manifolds.atlas import disc_atlas as module
from topogen.manifolds.atlas.disc_atlas import disc_atlas
from topogen.manifolds.shapes import Circle, KleinBottle, LinkedCircles, ProjectivePlane, Sphere, Torus, TrefoilKnot


def discs(shape, n=4000, seed=0):
    return disc_atlas(shape.sample(n, generator=torch.Generator().manual_seed(seed)), shape)


def holds_and_measures(found, shape):
    """Fresh points are held and come back, and the partition of unity finds the volume: within four standard errors and .5 %."""
    fresh = shape.sample(1000, generator=torch.Generator().manual_seed(1))
    at = found.atlas.encode(fresh)
    assert at.found.all()
    torch.testing.assert_close(found.atlas.decode(at.chart, at.z).points, fresh, rtol=0, atol=1e-7)
    volume = Uniform(found.atlas, seed=0).volume
    assert abs(volume.value - shape.volume) < 4 * volume.standard_error + 5e-3 * shape.volume


@pytest.mark.parametrize(("shape", "count"), [(Circle(), 2), (LinkedCircles(), 4)], ids=lambda value: getattr(value, "name", ""))
def test_a_circle_takes_two_discs(shape, count):
    found = discs(shape)
    assert found.atlas.count == count and found.condition < 1.5
    holds_and_measures(found, shape)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "most"),
    [(Sphere(2), 4), (Torus(), 8), (KleinBottle(), 7), (ProjectivePlane(), 6), (TrefoilKnot(), 4)],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("seed", range(2))
def test_few_discs_cover_a_shape(shape, most, seed):
    found = discs(shape, n=20_000, seed=seed)
    assert found.atlas.count <= most
    holds_and_measures(found, shape)


def test_too_many_is_said(monkeypatch):
    monkeypatch.setattr(module, "MOST", 1)
    with pytest.raises(InvalidInputError, match="more than 1 discs"):
        discs(Circle())
