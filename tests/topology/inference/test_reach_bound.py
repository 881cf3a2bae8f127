"""The reach that points show: never below the true one, and near it where they are dense enough to see it."""

import math

import pytest
import torch

from topogen.manifolds.shapes import Circle, FigureEight, Sphere, Torus
from topogen.topology.inference.reach_bound import reach_upper_bound


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def arc(gap, n=2000):
    """A unit circle without an arc whose ends are `gap` apart: its reach is half of that."""
    t = 2 * math.asin(gap / 2) * torch.tensor([0.5, -0.5], dtype=torch.float64)
    u = t[0] + (2 * math.pi + t[1] - t[0]) * torch.rand(n, generator=generator(), dtype=torch.float64)
    return torch.stack([u.cos(), u.sin()], 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("draw", "dim", "reach", "most"),
    [(Circle().sample, 1, 1.0, 1.5), (Sphere(2).sample, 2, 1.0, 1.3), (Sphere(3).sample, 3, 1.0, 1.5), (Torus(1.0, 0.4).sample, 2, 0.4, 0.6)],
    ids=["circle", "sphere", "three-sphere", "torus"],
)
def test_curvature_and_tubes_are_seen_and_not_overstated(draw, dim, reach, most, seed):
    found = reach_upper_bound(draw(8000, generator(seed)), dim, 5 * reach)
    assert reach <= found < most
    assert reach_upper_bound(draw(8000, generator(seed)), dim, 0.9 * reach) == math.inf


@pytest.mark.parametrize("gap", [0.1, 0.2, 0.4])
def test_ends_that_come_close_are_seen_though_tangents_run_along(gap):
    assert gap / 2 <= reach_upper_bound(arc(gap), 1, 1.0) < 0.8 * gap


@pytest.mark.parametrize("gap", [0.1, 0.3])
def test_sheets_that_come_close_are_seen(gap):
    shift = torch.tensor([2 + gap, 0.0], dtype=torch.float64)
    circles = torch.cat([Circle().sample(1000, generator()), Circle().sample(1000, generator(1)) + shift])
    assert gap / 2 <= reach_upper_bound(circles, 1, 1.0) < gap


def test_a_crossing_has_no_reach_but_what_gaps_between_points_hide():
    assert reach_upper_bound(FigureEight().sample(2000, generator()), 1, 1.0) < 0.1


def test_what_is_convex_shows_none():
    assert reach_upper_bound(torch.rand(4000, 2, generator=generator(), dtype=torch.float64), 2, 1.0) == math.inf


def test_noise_is_no_bending():
    x = Circle().sample(2000, generator())
    noisy = x + 0.01 * torch.randn(x.shape, generator=generator(1), dtype=torch.float64)
    assert reach_upper_bound(noisy, 1, 0.9, noise=0.04) == math.inf
    assert reach_upper_bound(noisy, 1, 3.0, noise=0.04) < 2


def test_units_scale_and_few_points_do_no_harm():
    x = Circle().sample(500, generator())
    assert reach_upper_bound(2.0**10 * x, 1, 3 * 2.0**10) == pytest.approx(2.0**10 * reach_upper_bound(x, 1, 3.0))
    assert reach_upper_bound(x[:2], 1, 1.0) > 0
