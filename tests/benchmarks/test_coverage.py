"""Does eps cover the true covering radius as often as its label says, and is a true shape ever refuted? One row per shape, density and size.

`stated_pct`: coverage under the true density ratio at level .95, of the draws with enough points for it (`told` of them had too few); `estimated_pct`: without
one (heuristic); widths are medians of eps over the truth. `refuted`: of `verified` draws of the true shape under its ratio.
"""

import math
import os
from statistics import median

import numpy as np
import pytest
import torch
from rows import Row, row, table

from topogen.geometry.clouds.farthest_points import covering_radius, farthest_points
from topogen.manifolds import shapes
from topogen.topology.inference.mass_bound import MassBound, uniform_ratio
from topogen.topology.inference.scale import bounded_scale, held_out_scale
from topogen.verification import Verdict, verify

DRAWS = int(os.environ.get("TOPOGEN_DRAWS", "200"))
VERIFIED = int(os.environ.get("TOPOGEN_VERIFIED", "40"))
LEVEL = 0.95
# a right bound covers fewer than this of 200 draws with a chance below 1 in 1000
LEAST = 0.89
CIRCLES = [(f"circle kappa {kappa}", n) for kappa in range(5) for n in (200, 400, 1000, 2000, 5000)]
SURFACES = [(f"{name} {kind}", n) for name in ("sphere", "torus") for kind in ("even", "10 to 1") for n in (500, 1000, 2000, 5000)]


def draw(name: str, n: int, seed: int) -> torch.Tensor:
    """Points of the shape with its density."""
    kind, rest = name.split(" ", 1)
    rng = np.random.default_rng(seed)
    if kind == "circle":
        t = rng.vonmises(0, float(rest.split()[1]), n)
        return torch.from_numpy(np.stack([np.cos(t), np.sin(t)], 1))
    source = torch.Generator().manual_seed(seed)
    points = shapes.get(kind).sample(12 * n, generator=source)
    if rest == "even":
        return points[:n]
    height = points[:, 0] / points[:, 0].abs().max()
    keep = torch.rand(len(points), generator=source, dtype=torch.float64) < (1 + 9 * (1 + height) / 2) / 10
    return points[keep][:n]


def ratio(name: str) -> float:
    """The density ratio that is stated."""
    kind, rest = name.split(" ", 1)
    if kind == "circle":
        return math.exp(2 * float(rest.split()[1]))
    return uniform_ratio(2, closed=True) * (1 if rest == "even" else 10)


def truth(name: str, landmarks: torch.Tensor) -> float:
    """sup over the shape of the distance to the landmarks: exact on the circle, over 40,000 points of a surface."""
    if name.startswith("circle"):
        angles = torch.atan2(landmarks[:, 1], landmarks[:, 0]).sort().values
        return 2 * math.sin(float(torch.cat([angles, angles[:1] + 2 * math.pi]).diff().max().clamp_max(2 * math.pi)) / 4)
    return covering_radius(shapes.get(name.split()[0]).sample(40_000, generator=torch.Generator().manual_seed(999)), landmarks)


def measure(name: str, n: int) -> Row:
    estimated, stated, told = [], [], 0
    for seed in range(DRAWS):
        x = draw(name, n, seed)
        source, held_out = x[: n // 2], x[n // 2 :]
        landmarks = farthest_points(source, min(1000, len(source))).points
        wanted = truth(name, landmarks)
        estimated.append(held_out_scale(landmarks, held_out).eps / wanted)
        bound = MassBound.of(landmarks, source, held_out, ratio(name), LEVEL)
        told += bound is None
        stated += [] if bound is None else [bounded_scale(landmarks, held_out, bound).eps / wanted]
    covered = {"stated_pct": 100 * sum(r >= 1 for r in stated) / len(stated) if stated else None, "stated_width": median(stated) if stated else None}
    return {"density_ratio": ratio(name), "draws": DRAWS, "estimated_pct": 100 * sum(r >= 1 for r in estimated) / DRAWS, **covered, "told": told}


def refuted(name: str, n: int) -> Row:
    kind = name.split()[0]
    found = [verify(draw(name, n, seed), expect=kind, density_ratio=ratio(name), fields=(2,), seed=seed).verdict for seed in range(VERIFIED)]
    return {"verified": VERIFIED, "confirmed": found.count(Verdict.CONFIRMED), "refuted": found.count(Verdict.REFUTED)}


@pytest.mark.parametrize(("name", "n"), CIRCLES + SURFACES)
def test_coverage(name, n):
    found = row("coverage", f"{name} {n:05}", lambda: measure(name, n))
    assert found["stated_pct"] is None or found["stated_pct"] >= 100 * LEAST


@pytest.mark.parametrize(("name", "n"), [case for case in CIRCLES + SURFACES if case[1] <= 1000])
def test_true_shapes_are_not_refuted(name, n):
    row("true shapes", f"{name} {n:05}", lambda: refuted(name, n))


def test_none_of_the_true_shapes_was_refuted():
    rows = table("true shapes")
    if not rows:
        pytest.skip("no row yet")
    assert sum(entry["refuted"] for entry in rows) == 0
