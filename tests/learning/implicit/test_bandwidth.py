"""The bandwidth: the smallest on clean data, wide under noise, and from place to place where curvature differs."""

import torch

from topogen.learning.implicit.bandwidth import choose_bandwidth, heights
from topogen.learning.implicit.local_sheets import fit_sheets
from topogen.manifolds import shapes


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def cloud(name, n, noise, seed):
    shape = shapes.get(name)
    x = shape.sample(n, seeded(seed))
    return x + noise * torch.randn(x.shape, generator=seeded(seed + 1), dtype=x.dtype)


def test_clean_points_keep_small_neighbourhoods():
    torus = cloud("torus", 3000, 0.0, 1)
    found = choose_bandwidth(torus, torus[:200], 2, 3, 20)
    assert found.ladder[int(found.at(torus).median())] <= 31 and found.sigma < 1e-3


def test_noise_widens_them_and_is_measured():
    torus = cloud("torus", 4000, 0.03, 3)
    found = choose_bandwidth(torus, torus[:200], 2, 2, 12)
    assert found.ladder[int(found.at(torus).median())] >= 60
    assert abs(found.sigma / 0.03 - 1) < 0.15


def test_the_sheets_are_better_than_at_a_third_and_at_three_times_the_bandwidth():
    """On the truth, which the choice does not see."""
    shape, noisy = shapes.get("torus"), cloud("torus", 5000, 0.03, 5)
    anchors = noisy[:300]
    found = choose_bandwidth(noisy, anchors, 2, 2, 12)
    k = found.ladder[int(found.step.median())]

    def error(k):
        foot = fit_sheets(noisy, anchors, 2, k, 2).charts.centre
        return (foot - shape.project(foot).points).norm(dim=1).square().mean()

    assert error(k) < error(k // 3) and error(k) < error(3 * k)


def test_flat_places_get_more_neighbours_than_bent_ones():
    """Half a plane is waved, half is flat, one noise."""
    flat = torch.rand(6000, 2, generator=seeded(7), dtype=torch.float64) * torch.tensor([4.0, 2.0])
    wave = torch.where(flat[:, 0] < 2, 0.15 * torch.sin(8 * flat[:, 0]), 0.15 * torch.sin(torch.tensor(16.0)).double())
    points = torch.cat([flat, wave.unsqueeze(1)], 1) + 0.02 * torch.randn(6000, 3, generator=seeded(8), dtype=torch.float64)
    found = choose_bandwidth(points, points[:400], 2, 2, 12)
    step = found.at(torch.tensor([[0.8, 1.0, 0.0], [3.3, 1.0, -0.04]], dtype=torch.float64))
    assert step[1] > step[0]


def test_heights():
    sheets = fit_sheets(cloud("sphere", 1000, 0.0, 9), torch.eye(3, dtype=torch.float64), 2, 16, 2)
    assert (heights(sheets, 1.1 * torch.eye(3, dtype=torch.float64)).abs() - 0.1).abs().max() < 1e-3
