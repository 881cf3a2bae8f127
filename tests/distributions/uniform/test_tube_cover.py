"""Nets on a manifold: they cover it, and one that would be too large costs few floods."""

import pytest
import torch

from topogen.distributions.uniform import tube_cover
from topogen.distributions.uniform.tube_cover import grow_net
from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest_distance
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Sphere, Torus

SPHERE = ImplicitManifold(lambda x: x.norm(dim=-1, keepdim=True) - 1, 2, ambient_dim=3)
TORUS = ImplicitManifold(lambda x: ((x[..., :2].norm(dim=-1) - 1).square() + x[..., 2].square()).sqrt().unsqueeze(-1) - 0.4, 2, ambient_dim=3)
CASES = pytest.mark.parametrize(("manifold", "shape"), [(SPHERE, Sphere(2)), (TORUS, Torus(1.0, 0.4))], ids=["sphere", "torus"])


def net(manifold, shape, spacing, known=50, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return grow_net(manifold, shape.sample(known, generator), spacing, torch.inf, generator)


@pytest.fixture
def floods(monkeypatch):
    """The spacings of the floods that were made."""
    made, flood = [], tube_cover._flood

    def counted(manifold, points, spacing, *rest):
        made.append(spacing)
        return flood(manifold, points, spacing, *rest)

    monkeypatch.setattr(tube_cover, "_flood", counted)
    return made


@CASES
@pytest.mark.parametrize("most", [8000, 300, 80])
def test_a_net_covers_and_is_as_fine_as_allowed(manifold, shape, most, floods, monkeypatch):
    """A net of spacing .2 takes some 400 to 900 anchors; where fewer are allowed it is coarser, filled to a quarter at least."""
    monkeypatch.setattr(tube_cover, "LARGEST_NET", most)
    anchors, spacing = net(manifold, shape, 0.2)
    assert len(anchors) <= most and len(floods) <= 4
    assert spacing == pytest.approx(0.2) if most == 8000 else len(anchors) > most / 4
    assert nearest_distance(shape.sample(2000, torch.Generator().manual_seed(2)), anchors).max() <= 1.2 * spacing


@CASES
def test_a_net_that_stays_too_large_is_refused_after_two_floods(manifold, shape, floods, monkeypatch):
    monkeypatch.setattr(tube_cover, "LARGEST_NET", 20)
    with pytest.raises(InvalidInputError, match="more than 20 balls"):
        net(manifold, shape, 0.1)
    assert floods == pytest.approx([0.1, 0.1 * 2**2.5])
