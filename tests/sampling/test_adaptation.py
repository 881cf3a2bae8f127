"""Dual averaging finds the step of a wanted acceptance; the ascent climbs whatever the scale of its slopes."""

import math

import pytest
import torch

from topogen.sampling.adaptation import Ascent, DualAveraging


@pytest.mark.parametrize("first", [1e-4, 0.3, 50.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_dual_averaging_finds_the_step(first, noise):
    """Acceptance exp(-h): .6 at h = .511; within 12 % after 300 noisy updates, whatever the start."""
    generator = torch.Generator().manual_seed(0)
    tuned = DualAveraging(first, 0.6)
    for _ in range(300):
        wobble = noise * float(torch.randn((), generator=generator, dtype=torch.float64))
        tuned.update(min(max(math.exp(-tuned.current) + wobble, 0.0), 1.0))
    assert abs(tuned.averaged / -math.log(0.6) - 1) < 0.12


def test_dual_averaging_starts_where_it_is_told():
    tuned = DualAveraging(0.25, 0.6)
    assert tuned.current == tuned.averaged == 0.25


def test_steps_without_acceptance_count_as_zero():
    lost, zero = DualAveraging(0.5, 0.6), DualAveraging(0.5, 0.6)
    for _ in range(5):
        lost.update(math.nan)
        zero.update(0.0)
    assert lost.averaged == zero.averaged < 0.5
    assert math.isfinite(lost.current)


def test_unit_scale_does_not_matter():
    small, large = DualAveraging(1e-6, 0.6), DualAveraging(1e6, 0.6)
    for k in range(40):
        acceptance = 0.2 + 0.6 * (k % 3) / 2
        small.update(acceptance)
        large.update(acceptance)
    assert math.isclose(large.averaged / small.averaged, 1e12, rel_tol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_ascent_climbs(scale):
    """f(x) = -scale (x - 1)^2 / 2 from 0: near 1 after 200 steps of about .025."""
    ascent, x = Ascent(), 0.0
    for _ in range(200):
        x += ascent.step(scale * (1 - x))
    assert abs(x - 1) < 0.1


def test_ascent_stands_still_on_the_flat():
    ascent = Ascent()
    assert [ascent.step(0.0) for _ in range(3)] == [0, 0, 0]
    assert Ascent().step(3.0) == pytest.approx(0.025)
    assert Ascent().step(-3e-9) == pytest.approx(-0.025)
