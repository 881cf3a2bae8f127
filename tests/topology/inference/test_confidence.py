"""Confidence radii: coverage where the true distance is known, both readings, refusals."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.topology import confidence_radius


def circle(n, seed, concentration=0.0):
    g = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(4 * n, generator=g, dtype=torch.float64)
    kept = torch.rand(4 * n, generator=g, dtype=torch.float64) <= torch.exp(concentration * (angle.cos() - 1))
    angle = angle[kept][:n]
    return torch.stack([angle.cos(), angle.sin()], 1), angle.sort().values


def true_distance(angle):
    """Of points of the unit circle to the circle: the chord to the middle of the widest gap."""
    gaps = torch.cat([angle[1:] - angle[:-1], angle[:1] + 2 * math.pi - angle[-1:]])
    return 2 * math.sin(float(gaps.max()) / 4)


@pytest.mark.parametrize("concentration", [0.0, 0.7])
def test_coverage_and_width_on_circles(concentration):
    """At 95 %, fewer than 53 of 60 covered has chance .002."""
    ratios = []
    for seed in range(60):
        x, angle = circle(500, seed, concentration)
        found = confidence_radius(x, 1, generator=torch.Generator().manual_seed(seed))
        ratios.append(found.eps / true_distance(angle))
    assert sum(ratio >= 1 for ratio in ratios) >= 53
    assert sorted(ratios)[30] <= 2.5


def test_the_uncorrected_quantile_is_far_too_wide_and_half_the_factor_too_narrow():
    """Planted defect: leaving out the factor 1.5 would cover less."""
    ratios = []
    for seed in range(30):
        x, angle = circle(500, seed, 0.7)
        found = confidence_radius(x, 1, generator=torch.Generator().manual_seed(seed))
        ratios.append(found.eps / true_distance(angle))
    wide = confidence_radius(x, 1, method="conservative", generator=torch.Generator().manual_seed(0))
    assert wide.eps > 8 * true_distance(angle) and wide.eps == 2 * wide.quantile
    assert sum(ratio / 2 >= 1 for ratio in ratios) < 24


def test_units_seeds_and_plain_values():
    x, _ = circle(200, 0)
    one, other = (confidence_radius(factor * x, 1, generator=torch.Generator().manual_seed(3)) for factor in (1.0, 1e6))
    assert other.eps == pytest.approx(1e6 * one.eps)
    assert one.to_dict()["method"] == "rate-corrected" and "density" in one.assumption
    assert one == confidence_radius(x, 1, generator=torch.Generator().manual_seed(3))


def test_refusals():
    x, _ = circle(100, 0)
    with pytest.raises(InvalidInputError, match="method"):
        confidence_radius(x, 1, method="bayes")
    with pytest.raises(InvalidInputError, match="dim"):
        confidence_radius(x, 0)
    with pytest.raises(InvalidInputError, match="need at least 20"):
        confidence_radius(x[:10], 1)
