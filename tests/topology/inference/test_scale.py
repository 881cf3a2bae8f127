"""The held-out scale covers the true distance; its figure halves with density; noise widens it.

Coverage: 15 seeds in 4 cells, nominal failure .05 each; the bound was exceeded in 0 of 525 trial runs, so one failure in 60 is
allowed (false alarm below 1e-4 at the observed rate, .81 power if the true rate were nominal).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from topogen.geometry.clouds.farthest_points import covering_radius, farthest_points
from topogen.topology.inference.scale import held_out_scale, largest_off_plane_distance


def circle(n: int, seed: int, kappa: float = 0.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    t = torch.rand(8 * n, generator=g, dtype=torch.float64) * 2 * math.pi
    t = t[torch.rand(8 * n, generator=g, dtype=torch.float64) < torch.exp(kappa * (t.cos() - 1))][:n]
    return torch.stack([t.cos(), t.sin()], dim=1)


def sphere(n: int, seed: int, kappa: float = 0.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.normalize(torch.randn(4 * n, 3, dtype=torch.float64, generator=g), dim=1)
    return x[torch.rand(4 * n, generator=g, dtype=torch.float64) < torch.exp(kappa * (x[:, 0] - 1))][:n]


def test_bound_covers_the_truth() -> None:
    ratios = []
    for shape, kappa in ((circle, 0.0), (circle, 0.7), (sphere, 0.0), (sphere, 0.5)):
        truth = shape(40_000, 999)
        for seed in range(15):
            x = shape(1000, seed, kappa)
            landmarks = farthest_points(x[:500], 300).points
            ratios.append(held_out_scale(landmarks, x[500:]).eps / covering_radius(truth, landmarks))
    assert sum(r < 1 for r in ratios) <= 1
    assert sorted(ratios)[len(ratios) // 2] < 2


def test_without_the_gap_it_would_not_cover() -> None:
    """Planted defect: the covering radius of the held-out points alone misses the truth."""
    truth = sphere(40_000, 999)
    missed = 0
    for seed in range(10):
        x = sphere(400, seed)
        landmarks = farthest_points(x[:200], 200).points
        missed += held_out_scale(landmarks, x[200:]).covering < covering_radius(truth, landmarks)
    assert missed >= 8


def test_scale_follows_units() -> None:
    x = sphere(600, 0)
    landmarks = farthest_points(x[:300], 100).points
    assert held_out_scale(1e6 * landmarks, 1e6 * x[300:]).eps == pytest.approx(1e6 * held_out_scale(landmarks, x[300:]).eps)


def test_noise_is_measured_off_the_tangent_plane() -> None:
    x = sphere(20_000, 0)
    g = torch.Generator().manual_seed(1)
    noisy = x * (1 + 0.1 * (2 * torch.rand(len(x), 1, generator=g, dtype=torch.float64) - 1))
    assert largest_off_plane_distance(x, 2) < 0.01
    assert 0.08 < largest_off_plane_distance(noisy, 2) < 0.22
    assert largest_off_plane_distance(x, 3) == 0
    assert held_out_scale(x[:2000], x[2000:], noise=0.5).eps == 0.5
