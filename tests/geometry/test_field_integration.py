"""Integration along manifolds against closed forms."""

import math

import pytest
import torch

from topogen.errors import ProjectionError
from topogen.geometry.field_integration import integrate_field


def onto_circle(x):
    length = x.norm(dim=1, keepdim=True)
    return x / length, length[:, 0] > 1e-6


def turning(x, time, rows):
    """A turn with speed cos(angle), which gathers points at angle pi / 2: div = -sin(angle) per unit length."""
    tangent = torch.stack([-x[:, 1], x[:, 0]], 1)
    return x[:, :1] * tangent, -x[:, 1]


def exact(angle, time):
    """Angle a with da/dt = cos(a): the Gudermannian moved by t."""
    return torch.atan(torch.sinh(torch.asinh(torch.tan(angle)) + time))


ANGLES = torch.linspace(-1.2, 1.2, 30, dtype=torch.float64)
START = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


@pytest.mark.parametrize("end", [1.5, -1.5])
def test_points_and_densities_move_as_they_must(end):
    found = integrate_field(turning, onto_circle, START, 0.0, end, tolerance=1e-7, unit=1.0)
    angle = torch.atan2(found.points[:, 1], found.points[:, 0])
    assert torch.allclose(angle, exact(ANGLES, end), atol=1e-6)
    # The integral of the divergence is the log of the slope of the map.
    slope = torch.cosh(torch.asinh(torch.tan(ANGLES))) / torch.cosh(torch.asinh(torch.tan(ANGLES)) + end)
    assert torch.allclose(found.divergence, slope.log(), atol=1e-6)
    assert bool(found.ok.all())


def test_the_order_is_three():
    missed = [float((integrate_field(turning, onto_circle, START, 0.0, 1.0, tolerance=1.0, unit=1.0, steps=n).divergence - integrate_field(
        turning, onto_circle, START, 0.0, 1.0, tolerance=1e-11, unit=1.0).divergence).abs().max()) for n in (8, 16, 32)]  # fmt: skip
    assert 2.6 < math.log2(missed[0] / missed[1]) < 3.6
    assert 2.6 < math.log2(missed[1] / missed[2]) < 3.6


def test_a_tighter_tolerance_takes_more_evaluations():
    loose, tight = (integrate_field(turning, onto_circle, START, 0.0, 1.0, tolerance=t, unit=1.0).evaluations for t in (1e-3, 1e-7))
    assert loose < tight


def test_lost_points_are_data():
    def drifting(x, time, rows):
        return torch.where(x[:, 1:] > 0, -5 * x, torch.zeros_like(x)), torch.zeros(len(x), dtype=x.dtype)

    found = integrate_field(drifting, lambda x: (x, x.norm(dim=1) > 0.5), START, 0.0, 1.0, tolerance=1e-3, unit=1.0, steps=8)
    assert bool((found.ok == (START[:, 1] <= 0)).all())
    assert bool((found.points[~found.ok].norm(dim=1) > 0.5).all())


def test_a_field_that_cannot_be_integrated_says_so():
    def wild(x, time, rows):
        return (1e9 * (1e9 * time).sin()).unsqueeze(1).expand_as(x), torch.zeros(len(x), dtype=x.dtype)

    with pytest.raises(ProjectionError, match="raise the tolerance"):
        integrate_field(wild, onto_circle, START, 0.0, 1.0, tolerance=1e-9, unit=1.0)


def test_no_points_are_no_work():
    found = integrate_field(turning, onto_circle, START[:0], 0.0, 1.0, tolerance=1e-3, unit=1.0)
    assert found.points.shape == (0, 2)


def sharp(x, time, rows):
    """A pulse that only the first point meets, half a hundredth of the time wide; its integral vanishes."""
    tangent = torch.stack([-x[:, 1], x[:, 0]], 1)
    pulse = (rows == 0) * 40 * (time - 0.5) / 0.05 * torch.exp(-((time - 0.5) / 0.05).square())
    return 0.1 * tangent, pulse


@pytest.mark.parametrize("easy", [0, 3, 5000])
def test_a_hard_row_is_integrated_as_well_beside_easy_ones(easy):
    angle = torch.linspace(0.3, 2.8, easy + 1, dtype=torch.float64)
    start = torch.stack([angle.cos(), angle.sin()], 1)
    found = integrate_field(sharp, onto_circle, start, 0.0, 1.0, tolerance=1e-5, unit=1.0)
    assert abs(float(found.divergence[0])) < 1e-3, f"beside {easy} easy rows: {float(found.divergence[0])}, truth 0"
    assert float(found.divergence[1:].abs().max(dim=0).values if easy else 0) < 1e-9


def test_a_batch_equals_its_rows():
    whole = integrate_field(turning, onto_circle, START, 0.0, 1.5, tolerance=1e-4, unit=1.0)
    for i in range(len(START)):
        alone = integrate_field(turning, onto_circle, START[i : i + 1], 0.0, 1.5, tolerance=1e-4, unit=1.0)
        assert float((alone.points[0] - whole.points[i]).abs().max()) < 1e-13 and abs(float(alone.divergence[0] - whole.divergence[i])) < 1e-13
