"""Sheets of least squares: polynomials come back exactly, two sheets are told apart, what is told of a sheet is right."""

import pytest
import torch

from topogen.learning.implicit.local_sheets import coefficients, fit_sheets, joined
from topogen.manifolds import shapes


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def graph(n, seed, noise=0.0):
    """z = .3 x^2 - .2 x y + .1 y^3 over a square."""
    flat = 2 * torch.rand(n, 2, generator=seeded(seed), dtype=torch.float64) - 1
    height = 0.3 * flat[:, 0] ** 2 - 0.2 * flat[:, 0] * flat[:, 1] + 0.1 * flat[:, 1] ** 3
    points = torch.cat([flat, height.unsqueeze(1)], 1)
    return points + noise * torch.randn(points.shape, generator=seeded(seed + 1), dtype=points.dtype)


@pytest.mark.parametrize("dim,degree,count", [(1, 3, 4), (2, 2, 6), (2, 3, 10), (3, 2, 10), (4, 3, 35)])
def test_coefficients(dim, degree, count):
    assert coefficients(dim, degree) == count


def test_points_of_a_plane_lie_on_their_sheets():
    flat = torch.cat([torch.rand(500, 2, generator=seeded(1), dtype=torch.float64), torch.zeros(500, 2, dtype=torch.float64)], 1)
    sheets = fit_sheets(flat, flat[:50], 2, 20, 3)
    assert sheets.spread.max() < 1e-9 and torch.isinf(sheets.gap).all()
    assert (sheets.charts.centre[:, 2:]).abs().max() < 1e-9


def test_a_quadratic_over_its_own_tangent_planes_has_small_residuals_of_third_order():
    coarse, fine = (fit_sheets(graph(n, 2), graph(40, 4) * 0.5, 2, 20, 2).spread.median() for n in (1000, 16_000))
    # Four times finer spacing: third-order terms fall by 64.
    assert fine < coarse / 30


def test_the_spread_is_the_noise():
    """Within a tenth: points of much noise are chosen a little less often than others."""
    noisy = graph(20_000, 5, 0.01)
    sheets = fit_sheets(noisy, noisy[:200], 2, 150, 2)
    assert sheets.spread.square().mean().sqrt() == pytest.approx(0.01, rel=0.1)


def test_the_leverage_is_the_variance_of_the_height_at_the_centre():
    """Heights at one centre over 400 draws of the noise: their variance within 25 % (three standard errors of a variance of 400 draws are 21 %)."""
    flat = graph(400, 6) * torch.tensor([1, 1, 0.0])
    centre, draws = torch.zeros(1, 3, dtype=torch.float64), []
    for seed in range(400):
        noisy = flat + 0.01 * torch.randn(400, 1, generator=seeded(seed), dtype=flat.dtype) * torch.tensor([0, 0, 1.0])
        sheets = fit_sheets(noisy, centre, 2, 60, 2)
        draws.append(sheets.charts.decode(torch.tensor([0]), -sheets.charts.centre[:, :2])[0, 2])
    assert torch.stack(draws).var() / 1e-4 == pytest.approx(float(sheets.leverage), rel=0.3)


@pytest.mark.parametrize("gap,share", [(0.06, 0.6), (0.15, 0.9), (0.4, 0.9)])
def test_two_plates_are_told_apart(gap, share):
    """Sheets around points of two plates hold points of one plate only: nine in ten, and most where the gap is as wide as three quarters of a neighbourhood."""
    flat = 2 * torch.rand(6000, 2, generator=seeded(7), dtype=torch.float64) - 1
    side = (torch.arange(6000) % 2).double() * gap
    points = torch.cat([flat, side.unsqueeze(1)], 1)
    inside = points[(flat.abs() < 0.8).all(1)][:300]
    sheets = fit_sheets(points, inside, 2, 30, 2)
    off = torch.minimum(sheets.charts.centre[:, 2].abs(), (sheets.charts.centre[:, 2] - gap).abs())
    assert (off < 1e-6 * gap).double().mean() > share
    seen = torch.isfinite(sheets.gap) & (off < 1e-6 * gap)
    assert seen.any() == (gap < 0.3) and (not seen.any() or sheets.gap[seen].min() == pytest.approx(gap, rel=1e-6))


def test_a_stray_centre_leans():
    circle = shapes.get("circle").sample(400, seeded(8))
    stray = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    sheets = fit_sheets(torch.cat([circle, stray]), torch.cat([circle[:20], stray]), 1, 10, 2)
    assert sheets.lean[:20].max() < 0.75


def test_parts_keep_their_order():
    points = graph(800, 9)
    whole, first, second = (fit_sheets(points, points[rows], 2, 20, 2, noise=0.0) for rows in (slice(0, 40), slice(0, 15), slice(15, 40)))
    both = joined([first, second])
    assert torch.equal(both.charts.heights, whole.charts.heights) or (both.charts.heights - whole.charts.heights).abs().max() < 1e-12
    assert torch.equal(both.subset(torch.tensor([3, 20])).charts.centre, both.charts.centre[[3, 20]])
    moved = both.replaced(torch.tensor([1]), both.subset(torch.tensor([5])))
    assert torch.equal(moved.charts.centre[1], both.charts.centre[5]) and torch.equal(moved.charts.centre[2:], both.charts.centre[2:])
