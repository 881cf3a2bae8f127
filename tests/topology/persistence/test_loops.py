"""Loops: shortest closed paths of known length, one for each hole, none where there is none."""

import math
import sys

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import shapes
from topogen.topology import loops, persistence


def draw(name, n, seed=0):
    return shapes.get(name).sample(n, generator=torch.Generator().manual_seed(seed))


def test_a_polygon_is_its_own_loop():
    angle = torch.arange(20, dtype=torch.float64) * math.pi / 10
    ring = torch.stack([angle.cos(), angle.sin()], 1)[torch.randperm(20, generator=torch.Generator().manual_seed(0))]
    (loop,) = loops(ring, least=0.0)
    assert loop.birth == pytest.approx(math.sin(math.pi / 20)) and 0.8 < loop.death < 0.9
    path = ring[loop.indices]
    assert loop.length == pytest.approx(float((path - path.roll(1, 0)).norm(dim=1).sum()))
    turns = torch.atan2(path[:, 1], path[:, 0])
    step = torch.remainder(turns.roll(-1) - turns + math.pi, 2 * math.pi) - math.pi
    assert abs(float(step.sum())) == pytest.approx(2 * math.pi)


def test_two_linked_circles_have_two_loops_on_one_circle_each():
    x = draw("linked_circles", 800)
    found = loops(x, landmarks=150)
    assert len(found) == 2
    assert all(loop.length == pytest.approx(2 * math.pi, rel=0.02) for loop in found)
    assert not set(found[0].indices.tolist()) & set(found[1].indices.tolist())


def test_loops_of_a_torus_are_the_short_ones():
    """Radii 1 and .4: the inner equator is 2 pi .6 long, the tube 2 pi .4; paths over chords are a little shorter or crooked."""
    found = loops(draw("torus", 3000))
    assert [loop.length for loop in found] == pytest.approx([2 * math.pi * 0.6, 2 * math.pi * 0.4], rel=0.08)


@pytest.mark.parametrize("name", ["torus", "circle"])
def test_every_bar_of_positive_length_has_a_loop(name):
    x = draw(name, 90)
    x = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    found = sorted((loop.birth, loop.death) for loop in loops(x, landmarks=90, least=0.0, most=10_000))
    bars = persistence(x, max_degree=1, engine="rips", fields=(2,))[2].bars[1]
    assert len(found) >= 4
    assert torch.allclose(torch.tensor(found, dtype=torch.float64), torch.as_tensor(sorted(bars.tolist()), dtype=torch.float64), rtol=1e-9)


def test_no_loops_on_a_disc_or_sphere():
    disc = torch.rand(800, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert loops(disc, landmarks=120) == ()
    assert loops(draw("sphere", 1500), landmarks=120) == ()


def test_indices_point_into_the_cloud_and_scale_does_not_matter():
    x = draw("circle", 300)
    small, large = loops(1e-20 * x, landmarks=80), loops(1e20 * x, landmarks=80)
    assert torch.equal(small[0].indices, large[0].indices)
    assert large[0].length == pytest.approx(1e40 * small[0].length)
    assert max(small[0].indices) < 300 and small[0].to_dict()["indices"] == small[0].indices.tolist()


def test_the_number_of_triangles_is_bounded(monkeypatch):
    monkeypatch.setattr(sys.modules["topogen.topology.persistence.loops"], "MOST_TRIANGLES", 3000)
    (loop,) = loops(draw("circle", 300), landmarks=100)
    assert math.isinf(loop.death) and loop.to_dict()["death"] is None


def test_refusals():
    with pytest.raises(InvalidInputError, match="landmarks, most"):
        loops(draw("circle", 30), landmarks=2)
    with pytest.raises(InvalidInputError, match="least, threshold"):
        loops(draw("circle", 30), threshold=-1.0)
