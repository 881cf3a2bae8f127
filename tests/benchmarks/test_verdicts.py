"""Verdicts on clouds: right ones CONFIRMED at a stated number of points, clean and with noise; wrong ones never.

One row per shape, noise and seed, so an interrupted table goes on where it stopped. `TOPOGEN_SEEDS=20 pytest tests/benchmarks/test_verdicts.py -s` is the quick
form, 100 seeds (or 1000 for the pairings) the full one. Nothing but the cloud and the name is handed over: dimension and boundary are estimated.
Noise is normal, per coordinate, of 1 % of the diameter. Not asked with noise: the figure eight, whose sheets cross, and the flat 3-torus, for its cost.
"""

import math
import os
import time

import pytest
import torch
from rows import Row, markdown, row, table

from topogen.geometry.clouds.farthest_points import covering_radius
from topogen.manifolds import shapes
from topogen.manifolds.shapes import Circle, FigureEight, FlatTorus, LinkedCircles, Sphere, Torus
from topogen.verification import verify

SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "20")))
POINTS = {
    "circle": 400, "figure_eight": 2000, "linked_circles": 1000, "trefoil_knot": 2000, "sphere": 3000, "two_spheres": 6000, "projective_plane": 4000,
    "torus": 20_000, "genus_two": 30_000, "klein_bottle": 20_000, "flat_torus": 20_000, "three_sphere": 20_000,
    "flat_torus_3": 100_000,
}  # fmt: skip
SLOW = ("torus", "genus_two", "klein_bottle", "flat_torus", "three_sphere", "flat_torus_3")
OTHERS = {"figure_eight": FigureEight, "flat_torus_3": lambda: FlatTorus(3)}
NOISY = tuple(name for name in POINTS if name not in ("figure_eight", "flat_torus_3"))
CASES = [(name, 0.0) for name in POINTS] + [(name, 0.01) for name in NOISY]
FEWER = int(os.environ.get("TOPOGEN_SLOW_SEEDS", "3"))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(name: str, n: int, noise: float, seed: int) -> torch.Tensor:
    source = generator(seed)
    shape = OTHERS[name]() if name in OTHERS else shapes.get(name)
    points = shape.sample(n, generator=source)
    diameter = 2 * float((points - points.mean(0)).norm(dim=1).max())
    return points + noise * diameter * torch.randn(points.shape, generator=source, dtype=points.dtype)


def judged(points: torch.Tensor, expect: object, seed: int, against: torch.Tensor | None = None, dim: int | None = None) -> Row:
    start = time.process_time()
    found = verify(points, against, expect, dim=dim, seed=seed)
    seconds = time.process_time() - start
    return {"n": len(points), "verdict": str(found.verdict), "label": found.label or "-", "betti": str(dict(found.subject_betti)), "seconds": seconds}


@pytest.mark.parametrize(("name", "noise"), CASES)
def test_right_pairings(name, noise):
    for seed in SEEDS if name not in SLOW else SEEDS[:FEWER]:
        row("verdicts", f"{name}-{noise}-{seed}", lambda seed=seed: judged(draw(name, POINTS[name], noise, seed), name, seed))
    mine = [entry for entry in table("verdicts") if entry["name"].startswith(f"{name}-{noise}-")]
    print("\n" + markdown(mine, ("name", "n", "verdict", "label", "betti", "seconds")))
    assert not any(entry["verdict"] == "REFUTED" for entry in mine)


def holed_torus(seed: int) -> torch.Tensor:
    """A torus without a disc of four covering radii."""
    points = Torus().sample(20_000, generator=generator(seed))
    radius = covering_radius(Torus().sample(20_000, generator=generator(seed + 10_000)), points)
    return points[(points - points[0]).norm(dim=1) > 4 * radius]


def touching_circles(seed: int) -> torch.Tensor:
    """Two unit circles a tenth of a radius apart."""
    shift = torch.tensor([2.1, 0.0], dtype=torch.float64)
    return torch.cat([Circle().sample(500, generator=generator(seed)), Circle().sample(500, generator=generator(seed + 10_000)) + shift])


def bridged_circles(seed: int) -> torch.Tensor:
    """Two circles and a line of points from one to the other."""
    points = LinkedCircles().sample(1000, generator=generator(seed))
    ends = points[:1], points[(points - points[0]).norm(dim=1).argmax()]
    return torch.cat([points, ends[0] + torch.linspace(0.02, 0.98, 60, dtype=torch.float64).unsqueeze(1) * (ends[1] - ends[0])])


def noisy_arc(seed: int) -> torch.Tensor:
    """A circle without an arc of .8, and noise of .05."""
    angle = (2 * math.pi - 0.8) * torch.rand(2000, generator=generator(seed), dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(2000, 2, generator=generator(seed + 10_000), dtype=torch.float64)


def without_a_small_component(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A circle, and the same with a small one that holds 2 % of the points."""
    small = 0.2 * Circle().sample(20, generator=generator(seed + 10_000)) + torch.tensor([3.0, 0.0], dtype=torch.float64)
    return Circle().sample(1000, generator=generator(seed)), torch.cat([Circle().sample(980, generator=generator(seed + 20_000)), small])


WRONG = {
    "sphere as torus": lambda seed: (Sphere(2).sample(3000, generator=generator(seed)), "torus", None),
    "torus as sphere": lambda seed: (Torus().sample(3000, generator=generator(seed)), "sphere", None),
    "torus as klein bottle": lambda seed: (Torus().sample(20_000, generator=generator(seed)), "klein_bottle", None),
    "two circles that almost touch as one": lambda seed: (touching_circles(seed), "circle", None),
    "torus with a hole as torus": lambda seed: (holed_torus(seed), "torus", None),
    "bridged circles as two": lambda seed: (bridged_circles(seed), "linked_circles", None),
    "missing a component of 2 %": lambda seed: (without_a_small_component(seed)[0], None, without_a_small_component(seed)[1]),
    "figure eight as circle": lambda seed: (FigureEight().sample(2000, generator=generator(seed)), "circle", None),
    "noisy arc as circle": lambda seed: (noisy_arc(seed), "circle", None),
    "noisy trefoil as two circles": lambda seed: (draw("trefoil_knot", 2000, 0.01, seed), "linked_circles", None),
    "noisy sphere as torus": lambda seed: (draw("sphere", 3000, 0.01, seed), "torus", None),
    "noisy two spheres as one": lambda seed: (draw("two_spheres", 6000, 0.01, seed), "sphere", None),
    "noisy genus two as torus": lambda seed: (draw("genus_two", 30_000, 0.01, seed), "torus", None),
    "blob told to be a curve as circle": lambda seed: (torch.randn(3000, 8, generator=generator(seed), dtype=torch.float64), "circle", None, 1),
    "projective plane as sphere": lambda seed: (draw("projective_plane", 3000, 0.0, seed), "sphere", None),
}
DEAR = ("torus as klein bottle", "torus with a hole as torus", "noisy genus two as torus")


def wrong(name: str, seed: int) -> Row:
    points, expect, against, *dim = WRONG[name](seed)
    return judged(points, expect, seed, against, *dim)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_pairings(name):
    for seed in SEEDS if name not in DEAR else SEEDS[:FEWER]:
        row("wrong_verdicts", f"{name.replace(' ', '_')}-{seed}", lambda seed=seed: wrong(name, seed))
    mine = [entry for entry in table("wrong_verdicts") if entry["name"].startswith(name.replace(" ", "_") + "-")]
    print("\n" + markdown(mine, ("name", "n", "verdict", "label", "betti", "seconds")))
    assert not any(entry["verdict"] == "CONFIRMED" for entry in mine), "a wrong topology was confirmed"
