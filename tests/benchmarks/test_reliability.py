"""Probabilities of Betti numbers: of the clouds with 90 % or more stated, how many are right. One row per shape, size, noise and seed."""

import os

import pytest
import torch
from rows import Row, row, table

from topogen.manifolds import shapes
from topogen.verification import betti_stability

SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "4")))
SIZES = {
    "circle": (30, 40, 60, 100, 200), "linked_circles": (200, 400), "sphere": (1000, 2000, 4000), "torus": (8000,), "projective_plane": (2000, 4000),
}  # fmt: skip
CASES = [(name, n, noise) for name, sizes in SIZES.items() for n in sizes for noise in (0.0, 0.01)]
SURE = 0.9


def measure(name: str, n: int, noise: float, seed: int) -> Row:
    shape, source = shapes.get(name), torch.Generator().manual_seed(seed)
    points = shape.sample(n, generator=source)
    points = points + noise * shape.diameter * torch.randn(points.shape, generator=source, dtype=points.dtype)
    found = betti_stability(points, dim=shape.dim, closed=True, fields=(2,), seed=seed)
    return {"n": n, "stated": found.share(), "answer": found.best is not None, "right": found.best == {2: shape.betti(2)}}


@pytest.mark.parametrize(("name", "n", "noise"), CASES)
def test_reliability(name, n, noise):
    for seed in SEEDS:
        row("reliability", f"{name}-{n}-{noise}-{seed}", lambda seed=seed: measure(name, n, noise, seed))


def test_a_stated_ninety_per_cent_holds():
    sure = [entry["right"] for entry in table("reliability") if entry["answer"] and entry["stated"] >= SURE]
    if not sure:
        pytest.skip("no row states so much yet")
    print(f"\nof {len(sure)} clouds with {SURE:.0%} or more stated {sum(sure)} are right")
    assert sum(sure) >= SURE * len(sure)
