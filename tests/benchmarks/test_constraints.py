"""Constraints side by side in one run: local polynomials, a network, and the simplest thing, a table of one cubic sheet per point.

Distances are means of |x - project(x)| over true points that nothing was fitted to, in percent of the diameter, and in units of sigma where there is noise.
`auto_took` is what the choice takes, `microseconds` are processor time per point of closest points from one percent of the diameter off.
"""

import os
import time

import pytest
import torch
from outside import OUTSIDE
from rows import Row, markdown, row

from topogen.geometry.clouds.scales import diameter
from topogen.learning.base import ManifoldRequest
from topogen.learning.implicit.choice import fit_constraint
from topogen.manifolds import fit_local_polynomials, shapes

LISTED = (
    "circle", "linked_circles", "trefoil_knot", "sphere", "two_spheres", "torus", "genus_two", "klein_bottle", "projective_plane", "flat_torus",
    "three_sphere", "special_orthogonal",
)  # fmt: skip
NOISES = (0.0, 0.01, 0.04)
SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "1")))
COLUMNS = (
    "name", "n", "sigma", "table_pct", "local_pct", "neural_pct", "local_sigma", "neural_sigma", "auto_took", "auto_pct", "auto_sigma",
    "local_seconds", "neural_seconds",
    "table_us", "local_us", "neural_us",
)  # fmt: skip


def draw(name: str, noise: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, int, float]:
    """Points to learn from, true points, the dimension and sigma."""
    generator = torch.Generator().manual_seed(seed)
    if name in OUTSIDE:
        known = OUTSIDE[name]
        on, true, dim = known.sampler(known.n, generator), known.sampler(2000, generator), known.dim
    else:
        shape = shapes.get(name)
        on, true, dim = shape.sample(5000, generator=generator), shape.sample(2000, generator=generator), shape.dim
    sigma = noise * diameter(on)
    return on + sigma * torch.randn(on.shape, generator=generator, dtype=on.dtype), true, dim, sigma


def measure(name: str, noise: float, seed: int, kinds: tuple[str, ...] = ("local", "neural")) -> Row:
    data, true, dim, sigma = draw(name, noise, seed)
    size, unit = diameter(true), sigma or float("nan")
    probes = true + 0.01 * size * torch.randn(true.shape, generator=torch.Generator().manual_seed(9), dtype=true.dtype)
    found: Row = {"n": len(data), "dim": dim, "sigma": sigma, "seed": seed}
    for kind in ("table", *kinds):
        start = time.process_time()
        if kind == "table":
            manifold = fit_local_polynomials(data, dim)
        else:
            manifold = fit_constraint(ManifoldRequest(data, dim, torch.Generator().manual_seed(seed), constraint=kind, quiet=True)).manifold
        found[f"{kind}_seconds"] = time.process_time() - start
        off = manifold.project(true)
        away = (off.points - true).norm(dim=1)
        found |= {
            f"{kind}_pct": 100 * float(away.mean()) / size,
            f"{kind}_worst_pct": 100 * float(away.max()) / size,
            f"{kind}_sigma": float(away.mean()) / unit,
        }
        start = time.process_time()
        found[f"{kind}_lost"] = float((~manifold.project(probes).converged).double().mean())
        found[f"{kind}_us"] = 1e6 * (time.process_time() - start) / len(probes)
    auto = fit_constraint(ManifoldRequest(data, dim, torch.Generator().manual_seed(seed), quiet=True))
    away = float((auto.manifold.project(true).points - true).norm(dim=1).mean())
    told = auto.training
    return found | {
        "auto_took": told["constraint"],
        "auto_held_out_pct": 100 * told["held_out"]["distance"] / size,
        "auto_pct": 100 * away / size,
        "auto_sigma": away / unit,
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", LISTED)
def test_listed(name, noise, seed):
    found = row("constraints", f"{name}-{noise}-{seed}", lambda: measure(name, noise, seed))
    print("\n" + markdown([found], COLUMNS))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", OUTSIDE)
def test_outside(name, seed):
    kinds = ("local", "neural") if OUTSIDE[name].dim < 4 else ("local",)
    found = row("constraints", f"{name}-0.0-{seed}", lambda: measure(name, 0.0, seed, kinds))
    print("\n" + markdown([found], COLUMNS))
