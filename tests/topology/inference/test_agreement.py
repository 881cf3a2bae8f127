"""Halves of a cloud: they agree on a circle, are undecided where points are few, and differ where the cloud changes."""

import json

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import shapes
from topogen.topology import Agreement, agreement, homology


def circle(n):
    return shapes.get("circle").sample(n, generator=torch.Generator().manual_seed(0))


def generator():
    return torch.Generator().manual_seed(0)


def test_a_circle_agrees():
    found = agreement(circle(800), dim=1, generator=generator())
    assert found.agree is True and found.first.n_points == found.second.n_points == 400
    assert "agree" in found.to_text() and json.dumps(found.to_dict(), allow_nan=False)


def test_few_points_are_undecided():
    assert agreement(circle(30), dim=1, generator=generator()).agree is None


def test_different_halves_disagree():
    one, two = (homology(x, dim=1, generator=generator()) for x in (circle(400), torch.cat([circle(400), circle(400) + 5])))
    assert Agreement(one, two).agree is False and "DISAGREE" in Agreement(one, two).to_text()


def test_too_few():
    with pytest.raises(InvalidInputError, match="at least 24"):
        agreement(circle(20))
