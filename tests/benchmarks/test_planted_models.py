"""A thousand models that are wrong about their data: none may be CONFIRMED, and from 5000 points on the gross ones are REFUTED. And right ones.

Models are planted (`planted.py`), verified as `topogen run` does it: against the cloud, with the inspection of it, degrees that it leaves open taken from the
model. One row per kind, size, noise and seed. `TOPOGEN_SEEDS` bounds the seeds of each cell (all: 1000 rows of sixteen kinds, an hour of one core). The
topology that a surface is said to have is counted by its mesh.
"""

import math
import os
import time
from collections import Counter

import pytest
import torch
from planted import GROSS, LEARNED, WRONG, Level
from rows import Row, markdown, row, table

import topogen
from topogen.manifolds import shapes
from topogen.report.run import run
from topogen.topology.level_sets.surfaces import mesh_of
from topogen.verification import verify

MOST = int(os.environ.get("TOPOGEN_SEEDS", "100"))
SEEDS = {100: 13, 300: 10, 1000: 8, 5000: 4}
FEWER = {100: 6, 300: 4, 1000: 3, 5000: 2}
NOISES = (0.0, 0.01)
SAMPLES = 2000
LEAST_REFUTED = 0.8
RIGHT = (
    "circle", "linked_circles", "trefoil_knot", "sphere", "two_spheres", "torus", "genus_two", "klein_bottle", "projective_plane", "flat_torus",
    "three_sphere", "special_orthogonal",
)  # fmt: skip
SIZES = tuple(int(n) for n in os.environ.get("TOPOGEN_SIZES", "300,1000,5000").split(","))
COUNTED = ("kind", "noise", "n", "CONFIRMED", "INCONCLUSIVE", "REFUTED", "seconds")


def measure(kind: str, n: int, noise: float, seed: int) -> Row:
    source = torch.Generator().manual_seed(seed)
    planted = WRONG[kind](source)
    points = planted.truth(n, source)
    points = points + noise * planted.diameter * torch.randn(points.shape, generator=source, dtype=points.dtype)
    start = time.process_time()
    inspection = topogen.inspect(points, seed=seed)
    found = verify(planted.model, against=points, fill=True, inspection=inspection, seed=seed, n_samples=SAMPLES)
    claims = [claim.holds for claim in found.claims if claim.key == "fidelity"]
    facts = {"subject": str(found.subject_betti[2]), "on_along_within": str(claims), "summary": found.summary}
    return {"kind": kind, "n": n, "noise": noise, "verdict": str(found.verdict), "label": found.label, **facts, "seconds": time.process_time() - start}


def counted(rows: list[Row]) -> list[Row]:
    """One line per kind, noise and size."""
    cells: dict[tuple[str, float, int], list[Row]] = {}
    for entry in rows:
        cells.setdefault((entry["kind"], entry["noise"], entry["n"]), []).append(entry)
    return [
        {"kind": kind, "noise": noise, "n": n, **Counter(e["verdict"] for e in cell), "seconds": sum(e["seconds"] for e in cell) / len(cell)}
        for (kind, noise, n), cell in sorted(cells.items())
    ]


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", WRONG)
def test_planted_models(kind, noise, n):
    for seed in range(min(MOST, (FEWER if kind in LEARNED else SEEDS)[n])):
        row("planted", f"{kind}-{noise}-{n:05}-{seed}", lambda seed=seed: measure(kind, n, noise, seed))
    mine = [entry for entry in table("planted") if (entry["kind"], entry["noise"], entry["n"]) == (kind, noise, n)]
    print("\n" + markdown(counted(mine), COUNTED))
    assert not [entry["name"] for entry in mine if entry["verdict"] == "CONFIRMED"]


def test_gross_faults_are_refuted_from_five_thousand_points():
    gross = [entry for entry in table("planted") if entry["kind"] in GROSS and entry["n"] == 5000]
    if not gross:
        pytest.skip("no row yet")
    assert sum(entry["verdict"] == "REFUTED" for entry in gross) >= LEAST_REFUTED * len(gross)


@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind not in LEARNED])
@pytest.mark.parametrize("seed", range(3))
def test_planted_surfaces_have_the_topology_that_they_are_said_to_have(kind, seed):
    model = WRONG[kind](torch.Generator().manual_seed(seed)).model
    if not isinstance(model.manifold, Level):
        pytest.skip("not a surface given by a function")
    sides, betti = model.manifold.box, model.manifold.betti()
    corners = torch.cartesian_prod(*(torch.stack([-side, side]) for side in sides))
    mesh = mesh_of(model.manifold, corners, resolution=64)
    assert mesh.euler_characteristic == betti[0] - betti[1] + betti[2]


def measure_right(name: str, n: int, folder) -> Row:
    points = shapes.get(name).sample(n, generator=torch.Generator().manual_seed(0))
    start = time.process_time()
    outcome = run(points, folder / "run")
    found = outcome.verification
    right = outcome.model.manifold.dim == shapes.get(name).dim and found.subject_betti == {p: shapes.get(name).betti(p) for p in (2, 3)}
    held = outcome.model.training.get("held_out", {}).get("distance", math.nan)
    facts = {"verdict": str(found.verdict), "label": found.label, "betti": str(found.subject_betti[2]), "right": right, "held_out": held}
    return {"shape": name, "n": n, **facts, "summary": found.summary, "seconds": time.process_time() - start}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", RIGHT)
def test_right_models(name, n, tmp_path):
    found = row("right_models", f"{name}-{n:05}", lambda: measure_right(name, n, tmp_path))
    print("\n" + markdown([found], ("shape", "n", "verdict", "label", "betti", "seconds", "summary")))
    assert found["verdict"] != "REFUTED"
    assert found["verdict"] != "CONFIRMED" or found["right"]
