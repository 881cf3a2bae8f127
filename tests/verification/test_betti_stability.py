"""Probabilities of Betti numbers: a stated 90 % holds 90 %, doubt is doubt, and workers change nothing."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds import shapes
from topogen.verification import betti_stability


def draw(name, n, number, noise=0.0):
    shape, generator = shapes.get(name), torch.Generator().manual_seed(number)
    points = shape.sample(n, generator=generator)
    return points + noise * shape.diameter * torch.randn(points.shape, generator=generator, dtype=points.dtype)


def test_a_well_sampled_circle_is_sure():
    found = betti_stability(draw("circle", 1000, 0), dim=1, closed=True)
    assert found.best == {2: (1, 1), 3: (1, 1)}
    assert found.counts == {((1, 1), (1, 1)): 20}
    assert found.share() == 1
    assert found.share({2: (2, 2), 3: (2, 2)}) == 0
    assert found.share({2: (1, 1, 0), 3: (1, 1, 0)}) == found.share(), "trailing zeros say nothing"
    assert json.loads(found.to_json())["found"][0]["count"] == 20
    assert found.to_text().startswith("[heuristic] 20 of 20 halves: Z/2 (1,1)")


def test_too_few_points_are_doubt():
    found = betti_stability(draw("torus", 400, 0), dim=2, closed=True)
    assert found.best is None
    assert found.undecided == 20
    assert found.share() < 0.05
    assert found.to_text() == "undecided: 20 of 20 halves of 200 points"


def test_clouds_whose_halves_agree_are_right():
    """Circles and linked circles, scarce and plenty, clean and noisy: where 90 % of the halves agree, at least 90 % are right, and there are many."""
    stated = []
    for name, sizes in (("circle", (100, 200, 400, 800)), ("linked_circles", (200, 400))):
        for n in sizes:
            for number in range(8):
                found = betti_stability(draw(name, n, number, 0.01 * (number % 2)), dim=1, closed=True, fields=(2,), seed=number)
                stated.append((found.share(), found.best == {2: shapes.get(name).betti(2)}))
    sure = [right for share, right in stated if share >= 0.9]
    unsure = [right for share, right in stated if share < 0.9]
    assert len(sure) >= 10
    assert len(unsure) >= 5
    assert sum(sure) >= 0.9 * len(sure)


def test_workers_and_repetition_change_nothing():
    cloud = draw("circle", 60, 1)
    one = betti_stability(cloud, seed=3)
    with ThreadPoolExecutor(2) as pool:
        assert betti_stability(cloud, seed=3, executor=pool) == one
    assert betti_stability(cloud, seed=3) == one


def test_refits():
    """A learner that finds the circle, one that finds two, one that fails."""
    cloud = draw("circle", 100, 0)

    def radius(half, generator):
        return lambda n, generator: half.norm(dim=1).mean() * shapes.Circle().sample(n, generator=generator)

    found = betti_stability(cloud, dim=1, closed=True, refit=radius, samples=300, resamples=5)
    assert found.best == {2: (1, 1), 3: (1, 1)}

    def failing(half, generator):
        raise NotSupportedError("nothing learned")

    found = betti_stability(cloud, refit=failing, resamples=5)
    assert (found.failed, found.undecided, found.best) == (5, 5, None)


def test_refusals():
    with pytest.raises(InvalidInputError, match="at least 24"):
        betti_stability(draw("circle", 20, 0))
    with pytest.raises(InvalidInputError, match="resamples"):
        betti_stability(draw("circle", 40, 0), resamples=0)
    with pytest.raises(InvalidInputError, match="fields"):
        betti_stability(draw("circle", 40, 0), fields=(4,))
