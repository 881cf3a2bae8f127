"""The bound under a stated density ratio covers as often as it says; what is stated too low, or not stated at all, does not.

Coverage: 600 clouds in 6 cells at level .95. Up to 43 misses are allowed: at the nominal rate of .05 that fails in .8 % of the runs, and a bound that misses
one cloud in ten is found out with probability .99.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import beta
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.topology.inference.homology import homology
from topogen.topology.inference.mass_bound import MassBound, mass_rank, uniform_ratio
from topogen.topology.inference.scale import bounded_scale, held_out_scale

MISSES = 43


def von_mises(n: int, kappa: float, seed: int) -> Tensor:
    """Angles of density exp(kappa cos t) on the unit circle, whose ratio is exp(2 kappa)."""
    g = torch.Generator().manual_seed(seed)
    found = torch.empty(0, dtype=torch.float64)
    while len(found) < n:
        t = torch.rand(20 * n, generator=g, dtype=torch.float64) * 2 * math.pi
        found = torch.cat([found, t[torch.rand(20 * n, generator=g, dtype=torch.float64) < torch.exp(kappa * (t.cos() - 1))]])
    return torch.stack([found[:n].cos(), found[:n].sin()], 1)


def circle_radius(landmarks: Tensor) -> float:
    """sup over the unit circle of the distance to landmarks on it: half of the widest gap."""
    angles = torch.atan2(landmarks[:, 1], landmarks[:, 0]).sort().values
    gap = torch.cat([angles, angles[:1] + 2 * math.pi]).diff().max()
    return 2 * math.sin(float(gap) / 4)


def scales(n: int, kappa: float, seed: int) -> tuple[float, float | None, float]:
    """The estimated eps, the one under the true ratio, and what both should cover."""
    x = von_mises(n, kappa, seed)
    source, held_out = x[: n // 2], x[n // 2 :]
    landmarks = farthest_points(source, min(1000, len(source))).points
    bound = MassBound.of(landmarks, source, held_out, math.exp(2 * kappa), 0.95)
    stated = None if bound is None else bounded_scale(landmarks, held_out, bound).eps
    return held_out_scale(landmarks, held_out).eps, stated, circle_radius(landmarks)


def test_a_stated_ratio_covers() -> None:
    missed = 0
    for kappa, n in ((0.0, 200), (0.0, 1000), (1.0, 200), (1.0, 1000), (2.0, 400), (2.0, 1000)):
        for seed in range(100):
            _, stated, truth = scales(n, kappa, seed)
            assert stated is not None
            missed += stated < truth
    assert missed <= MISSES


def test_an_estimate_does_not_cover_an_uneven_cloud() -> None:
    """Which is why it is called heuristic: 95 of 100 times too small at kappa = 3."""
    pairs = [scales(400, 3.0, seed) for seed in range(40)]
    assert sum(estimate < truth for estimate, _, truth in pairs) > 30


def test_too_few_points_for_the_ratio_are_told() -> None:
    assert scales(400, 3.0, 0)[1] is None
    found = homology(von_mises(400, 3.0, 0), dim=1, closed=True, density_ratio=math.exp(6), generator=torch.Generator().manual_seed(0))
    assert (found.label, found.scale_label) == ("heuristic", "heuristic")
    assert any("too few for density_ratio=403" in note for note in found.notes)


@pytest.mark.parametrize(("m", "mass", "missed"), [(50, 0.1, 0.01), (1000, 0.01, 0.02), (1000, 0.3, 1e-4)])
def test_rank_is_the_smallest_whose_mass_is_large_enough(m: int, mass: float, missed: float) -> None:
    """Against the law of order statistics itself: G(D_k) of independent points is Beta(k, m - k + 1)."""
    k = mass_rank(m, mass, missed)
    assert k is not None
    assert beta.cdf(mass, k, m - k + 1) <= missed < beta.cdf(mass, k - 1, m - k + 2)


def test_no_rank_is_large_enough_for_too_much_mass() -> None:
    assert mass_rank(10, 0.9, 0.01) is None
    assert mass_rank(10, 1.5, 0.01) is None


def test_uniform_samples_have_the_ratio_that_is_taken_for_them() -> None:
    """Caps of a sphere of radius R: pi h^2 whatever the place, so the ratio is 1, and the bound above it; on a torus balls are compared by counts."""
    assert 1 < uniform_ratio(1, closed=True) < uniform_ratio(2, closed=True) < 1.3
    assert uniform_ratio(2, closed=False) == 2 * uniform_ratio(2, closed=True)
    u, v = torch.meshgrid(*2 * [torch.arange(600, dtype=torch.float64) * (2 * math.pi / 600)], indexing="ij")
    tube = 0.4
    weight = 1 + tube * v.cos()
    grid = torch.stack([weight * u.cos(), weight * u.sin(), tube * v.sin()], -1).reshape(-1, 3)
    at = grid.reshape(600, 600, 3)[0, ::25]
    masses = ((torch.cdist(at, grid) < 0.4 * tube) * weight.reshape(-1)).sum(1)
    assert float(masses.max() / masses.min()) < uniform_ratio(2, closed=True)


@pytest.mark.parametrize("bad", [{"density_ratio": 0.5}, {"density_ratio": math.inf}, {"density_ratio": math.nan}, {"level": 1.0}])
def test_refuses_options(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(bad))):
        homology(von_mises(100, 0.0, 0), **bad)  # type: ignore[arg-type]
