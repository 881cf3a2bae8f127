"""Pictures of topology: written, coloured by what is in them, with and without a cloud, and from the claims of a verification."""

import numpy as np
import pytest
import torch

from topogen.manifolds import shapes
from topogen.report.diagrams import diagrams_in, draw_topology
from topogen.topology import Diagram, loops, persistence
from topogen.verification import verify

image = pytest.importorskip("matplotlib.image")


def draw(name, n):
    return shapes.get(name).sample(n, generator=torch.Generator().manual_seed(0))


def colours(path):
    pixels = (255 * image.imread(path)[..., :3]).round().astype(int).reshape(-1, 3)
    return {tuple(colour) for colour in np.unique(pixels, axis=0)}


C0, C1 = (31, 119, 180), (255, 127, 14)


@pytest.mark.parametrize(("name", "ambient"), [("circle", 2), ("torus", 3), ("klein_bottle", 4)])
def test_degrees_and_loops_have_their_colours(tmp_path, name, ambient):
    x = draw(name, 600)
    diagram = persistence(x, max_degree=1, fields=(2,), threshold=0.3 if ambient == 4 else None)[2]
    draw_topology(tmp_path / "a.png", diagram, x, loops(x, landmarks=100), 0.1, "a title")
    assert {C0, C1} <= colours(tmp_path / "a.png")


def test_bars_are_drawn_as_many_as_there_are(tmp_path):
    def orange(count):
        bars = np.stack([np.linspace(0.1, 0.2, count), np.full(count, 0.9)], 1).reshape(-1, 2)
        draw_topology(tmp_path / "a.png", Diagram(2, "cech", None, (np.array([[0.0, np.inf], [0.0, 1.0]]), bars)))
        pixels = (255 * image.imread(tmp_path / "a.png")[..., :3]).round().astype(int)
        return int((pixels == C1).all(-1).sum())

    few, more = orange(0), orange(10)
    assert more > few + 10 * 100


def test_a_line_and_a_flat_cloud(tmp_path):
    x = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    draw_topology(tmp_path / "a.png", persistence(x, max_degree=0)[2], x)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_summaries_hold_what_is_drawn():
    found = diagrams_in(verify(draw("circle", 300), expect="circle"))
    (diagram,) = found.values()
    assert len(diagram.bars) == 2 and diagram.field == 2
    whole = persistence(draw("torus", 400), max_degree=2)[3]
    again = Diagram.from_dict(whole.to_dict(longest=10**6))
    assert all(np.array_equal(a, b) for a, b in zip(whole.bars, again.bars, strict=True)) and (again.field, again.threshold) == (3, None)
