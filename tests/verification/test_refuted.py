"""REFUTED rests on theorems: right pairings that are sparse, noisy or nearly pinched are never refuted, wrong ones still are.

300 right clouds, none refuted: a false-alarm rate above 1 % would show here with probability .95. Kinds of clouds on which rules read wrong numbers, for a gap,
a waist or a second piece that the points do not resolve, so that a verdict which trusted them would refute (`test_the_numbers_are_at_risk`).
"""

import math

import pytest
import torch

from topogen.manifolds import shapes
from topogen.manifolds.shapes import Circle, FigureEight, Sphere
from topogen.topology.inference.homology import homology
from topogen.verification import Verdict, verify

SEEDS = 20


def generator(seed):
    return torch.Generator().manual_seed(seed)


def angles(n, seed):
    return 2 * math.pi * torch.rand(n, generator=generator(seed), dtype=torch.float64)


def touching(n, seed):
    """Two unit circles a tenth of a radius apart."""
    shift = torch.tensor([2.1, 0.0], dtype=torch.float64)
    return torch.cat([Circle().sample(n // 2, generator(seed)), Circle().sample(n // 2, generator(seed + 1000)) + shift])


def ellipse(n, seed):
    t = angles(n, seed)
    return torch.stack([t.cos(), 0.15 * t.sin()], 1)


def dumbbell(n, seed):
    """A closed curve with a waist of .14."""
    t = angles(n, seed)
    r = (t.cos() ** 2 + 0.0049).sqrt()
    return torch.stack([r * t.cos(), r * t.sin()], 1)


def gap(n, seed):
    """A circle without an arc of .15: it has the homology of a point."""
    t = 0.075 + (1 - 0.15 / (2 * math.pi)) * angles(n, seed)
    return torch.stack([t.cos(), t.sin()], 1)


def noisy(name, n, sigma, seed):
    points = shapes.get(name).sample(n, generator=generator(seed))
    return points + sigma * torch.randn(points.shape, generator=generator(seed + 1000), dtype=points.dtype)


RIGHT = {
    "touching circles, 100": (lambda s: touching(100, s), "linked_circles"),
    "touching circles, 200": (lambda s: touching(200, s), "linked_circles"),
    "linked circles, 80": (lambda s: noisy("linked_circles", 80, 0.0, s), "linked_circles"),
    "linked circles, 150": (lambda s: noisy("linked_circles", 150, 0.02, s), "linked_circles"),
    "trefoil, 200": (lambda s: noisy("trefoil_knot", 200, 0.0, s), "trefoil"),
    "noisy circle, 400": (lambda s: noisy("circle", 400, 0.2, s), "circle"),
    "ellipse, 200": (lambda s: ellipse(200, s), "circle"),
    "ellipse, 500": (lambda s: ellipse(500, s), "circle"),
    "dumbbell, 200": (lambda s: dumbbell(200, s), "circle"),
    "dumbbell, 500": (lambda s: dumbbell(500, s), "circle"),
    "circle with a gap, 200": (lambda s: gap(200, s), (1, 0)),
    "circle with a gap, 500": (lambda s: gap(500, s), (1, 0)),
    "sphere, 100": (lambda s: noisy("sphere", 100, 0.0, s), "sphere"),
    "figure eight, 200": (lambda s: FigureEight().sample(200, generator(s)), "figure_eight"),
    "Klein bottle, 300": (lambda s: noisy("klein_bottle", 300, 0.0, s), "klein_bottle"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_pairings_are_never_refuted(name):
    draw, expect = RIGHT[name]
    for seed in range(SEEDS):
        found = verify(draw(seed), expect=expect, seed=seed)
        assert found.verdict is not Verdict.REFUTED, found.to_text()


@pytest.mark.parametrize(("name", "wrong"), [("ellipse, 200", (1, 0)), ("dumbbell, 500", (1, 2)), ("circle with a gap, 500", (1, 1))])
def test_the_numbers_are_at_risk(name, wrong):
    """The rules do read wrong numbers off these clouds, and say that they are heuristic."""
    found = [homology(RIGHT[name][0](seed), generator=generator(seed)) for seed in range(SEEDS)]
    mistaken = [answer for answer in found if answer.betti[2] == wrong]
    assert mistaken
    assert {answer.label for answer in mistaken} == {"heuristic"}


WRONG = {
    "circle as two": (lambda s: Circle().sample(400, generator(s)), "linked_circles", 1.0),
    "two circles as one": (lambda s: noisy("linked_circles", 3000, 0.0, s), "circle", 1.0),
    "sphere as torus": (lambda s: Sphere(2).sample(3000, generator(s)), "torus", 1.1),
    "projective plane as sphere": (lambda s: noisy("projective_plane", 16_000, 0.0, s), "sphere", 1.1),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pairings_are_refuted_by_a_theorem(name):
    draw, expect, ratio = WRONG[name]
    for seed in range(3):
        found = verify(draw(seed), expect=expect, density_ratio=ratio, seed=seed)
        assert (found.verdict, found.label) == (Verdict.REFUTED, "statistical"), found.to_text()
        estimated = verify(draw(seed), expect=expect, seed=seed)
        assert estimated.verdict is Verdict.INCONCLUSIVE
        assert "density_ratio=" in estimated.summary
