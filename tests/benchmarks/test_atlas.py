"""Atlases of learned manifolds: charts, certificates, volumes, discs; own sheets against one chart; geodesics against closed forms.

One fit of 5000 clean points per shape and seed. `integral` is that of the density by an independent integrator: uniform samples drawn patch by patch.
"""

import math
import os
import time

import pytest
import torch
from rows import Row, markdown, row
from test_shapes import draw

from topogen.distributions import ChartMixture, Uniform
from topogen.distributions.charts.ball_densities import Bump
from topogen.distributions.charts.chart_mixture import kept_shares
from topogen.learning.atlas.fit import learn_atlas
from topogen.learning.atlas.good_cover import chart_cover, good_cover
from topogen.manifolds import GeodesicSolver, ImplicitManifold, shapes
from topogen.manifolds.atlas.disc_atlas import disc_atlas
from topogen.model import fit
from topogen.verification import certify

SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "3")))
CLOSED = ("circle", "sphere", "torus", "flat_torus", "klein_bottle", "projective_plane", "trefoil_knot", "genus_two")
LEAST = {"circle": 2, "sphere": 2, "torus": 3, "klein_bottle": 3, "projective_plane": 3}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def measure(name: str, seed: int) -> Row:
    shape, _, data, true, _ = draw(name, 0.0, seed)
    implicit = fit(data, manifold="implicit", seed=seed, quiet=True)
    start = time.process_time()
    atlas = learn_atlas(implicit.manifold, implicit.anchors, generator=seeded(seed)).atlas
    covered = time.process_time() - start
    found = certify(atlas, data, seed=seed)
    even = implicit.sample(20_000, generator=seeded(seed + 1))
    weights = torch.rand(atlas.count, dtype=torch.float64, generator=seeded(seed))
    kept, error = kept_shares(atlas, Bump(atlas.dim), seeded(seed)) if atlas.gate is not None else (None, None)
    density = ChartMixture(atlas, weights / weights.sum(), kept=kept, kept_error=error).log_prob(even).exp()
    volume = implicit.distribution.volume.value
    back = (atlas.project(true).points - true).norm(dim=-1)
    return {
        "charts": atlas.count,
        "dead": len(found.dead),
        "least_det": found.flattest,
        "good": found.nerve.good,
        "betti": str(found.nerve_betti),
        "betti_right": all(found.nerve_betti[p] == shape.betti(p) for p in (2, 3)),
        "agrees": found.agrees,
        "orientable_right": found.orientable is shape.orientable,
        "round_trip": found.round_trip,
        "cocycle": found.cocycle,
        "rmse_pct": 100 * float(back.square().mean().sqrt()) / shape.diameter,
        "volume_error_pct": 100 * (found.volume.value / shape.volume - 1),
        "gauss_bonnet_error": None if found.gauss_bonnet is None else found.gauss_bonnet.value - (found.euler or 0),
        "integral": float(density.mean()) * volume,
        "integral_se": float(density.std()) / math.sqrt(len(density)) * volume,
        "cover_seconds": covered,
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [*CLOSED, "moebius_band"])
def test_atlas_of_a_learned_shape(name, seed):
    found = row("atlases", f"{name}-{seed}", lambda: measure(name, seed))
    print("\n" + markdown([found], tuple(found)))
    assert found["orientable_right"] and found["dead"] == 0


def measure_discs(name: str, seed: int) -> Row:
    shape = shapes.get(name)
    samples = shape.sample(20_000, generator=seeded(seed))
    start = time.process_time()
    found = disc_atlas(samples, shape)
    seconds = time.process_time() - start
    volume = Uniform(found.atlas, generator=seeded(seed)).volume
    return {
        "charts": found.atlas.count,
        "least_possible": LEAST[name],
        "condition": found.condition,
        "least_det": found.cover.flattest,
        "volume_error_pct": 100 * (volume.value / shape.volume - 1),
        "volume_se_pct": 100 * volume.standard_error / shape.volume,
        "seconds": seconds,
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", LEAST)
def test_discs(name, seed):
    found = row("discs", f"{name}-{seed}", lambda: measure_discs(name, seed))
    print("\n" + markdown([found], tuple(found)))
    assert found["charts"] <= 2 * found["least_possible"] + 1


def measure_own(name: str, seed: int) -> Row:
    """Own sheets learned from 5000 points without any constraint, beside one quadratic chart."""
    shape, _, data, true, _ = draw(name, 0.0, seed)
    start = time.process_time()
    cover = good_cover(data, shape.dim, accuracy=1e-3 * shape.diameter)
    seconds = time.process_time() - start
    back = (cover.atlas.project(true).points - true).norm(dim=-1)
    one = chart_cover(data, shape.dim, 1).atlas.charts
    zero = torch.zeros(len(true), dtype=torch.int64)
    alone = one.offset(zero, true, one.encode(zero, true))
    volume = Uniform(cover.atlas, generator=seeded(seed)).volume
    return {
        "charts": cover.atlas.count,
        "rmse_pct": 100 * float(back.square().mean().sqrt()) / shape.diameter,
        "one_chart_rmse_pct": 100 * float(alone.square().mean().sqrt()) / shape.diameter,
        "volume_error_pct": 100 * (volume.value / shape.volume - 1),
        "seconds": seconds,
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["circle", "sphere", "torus", "klein_bottle"])
def test_own_sheets(name, seed):
    found = row("own_sheets", f"{name}-{seed}", lambda: measure_own(name, seed))
    print("\n" + markdown([found], tuple(found)))
    assert found["rmse_pct"] < found["one_chart_rmse_pct"]


def implicit_torus(x: torch.Tensor) -> torch.Tensor:
    return ((x[:, :2].norm(dim=1) - 1) ** 2 + x[:, 2] ** 2 - 0.16).unsqueeze(1)


def measure_sphere() -> Row:
    sphere = ImplicitManifold(lambda x: x.square().sum(-1, keepdim=True) - 1, 2, 3)
    x, y = (shapes.Sphere(2).sample(300, generator=seeded(s)) for s in (0, 1))
    truth = (x * y).sum(-1).clamp(-1, 1).acos()
    start = time.process_time()
    error = (sphere.geodesics(shapes.Sphere(2).sample(2000, generator=seeded(2))).dist(x, y) / truth - 1).abs()
    return {"mean_error": float(error.mean()), "largest_error": float(error.max()), "seconds": time.process_time() - start}


def measure_torus() -> Row:
    """Against the same search with twice as many nodes and starts; 1000 pairs."""
    torus = ImplicitManifold(implicit_torus, 2, 3)
    known = shapes.Torus().sample(2000, generator=seeded(2))
    x, y = (torus.projx(shapes.Torus().sample(1000, generator=seeded(s))) for s in (0, 1))
    start = time.process_time()
    found = torus.geodesics(known).dist(x, y)
    seconds = time.process_time() - start
    fine = GeodesicSolver(torus, known, starts=6, n_nodes=65)
    error = (found[:200] / fine.dist(x[:200], y[:200]) - 1).abs()
    return {"median_error": float(error.median()), "largest_error": float(error.max()), "seconds_for_1000": seconds}


def test_distances_on_the_sphere():
    found = row("geodesics", "sphere", measure_sphere)
    print("\n" + markdown([found], tuple(found)))
    assert found["mean_error"] <= 1e-3


def test_distances_on_the_torus():
    found = row("geodesics", "torus", measure_torus)
    print("\n" + markdown([found], tuple(found)))
    assert found["median_error"] <= 1e-2
