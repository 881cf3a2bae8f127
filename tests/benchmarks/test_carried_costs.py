"""What diffusing within M costs and gives beside the same network in the ambient space; accuracy of tables and walks. Seeds 0-2 (TOPOGEN_SEEDS)."""

import math
import os
import time
from collections.abc import Callable

import pytest
import torch
from rows import Row, markdown, row
from test_atlas_density import WrappedNormals
from test_carried import learned, seeded
from torch import Tensor

import topogen
from topogen.distributions import Sizes, field_settings, fit_diffusion, fit_flow
from topogen.distributions.fields.components import SampledManifold, sampled_manifold
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.manifolds import shapes
from topogen.manifolds.base import Manifold
from topogen.manifolds.local_polynomial import fit_local_polynomials
from topogen.manifolds.shapes import FlatTorus, Torus
from topogen.sampling.brownian import SCHEMES, brownian

SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "3")))
FEATURES, FINEST, BATCH = 64, 30.0, 512


def seconds(run: Callable[[], object]) -> float:
    """Of the process."""
    start = time.process_time()
    run()
    return time.process_time() - start


def ambient_field(data: Tensor, steps: int, loss: Callable[[FieldNetwork, Tensor, Tensor, float, torch.Generator], Tensor], seed: int) -> FieldNetwork:
    """The network of the library trained in R^D by `loss(field, x, centre, scale, generator)`."""
    generator = seeded(seed)
    centre, scale = data.mean(0), float((data - data.mean(0)).square().sum(1).mean().sqrt())
    field = FieldNetwork(centre, scale, finest=FINEST, features=FEATURES, generator=generator)
    optimiser = torch.optim.Adam(field.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x = data[torch.randint(len(data), (BATCH,), generator=generator)]
        value = loss(field, x, centre, scale, generator)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
    return field.requires_grad_(False)


def straight(field: FieldNetwork, x1: Tensor, centre: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Flow matching along straight lines from a normal law (Lipman et al. 2023)."""
    x0 = centre + scale * torch.randn(x1.shape, generator=generator, dtype=x1.dtype)
    t = torch.rand(len(x1), generator=generator)
    return (field(x0 + t.unsqueeze(1) * (x1 - x0), t) - (x1 - x0).float()).square().mean()


def denoising(low: float, high: float) -> Callable[[FieldNetwork, Tensor, Tensor, float, torch.Generator], Tensor]:
    """Denoising with normal noise of log-uniform size: f = sigma s (Vincent 2011)."""

    def loss(field: FieldNetwork, x: Tensor, centre: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        share = torch.rand(len(x), generator=generator)
        sigma = (low * (high / low) ** share).unsqueeze(1)
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float32)
        return (field(x + sigma * noise, share) + noise).square().mean()

    return loss


def carried_straight(field: FieldNetwork, data: Tensor, n: int, generator: torch.Generator, steps: int = 200) -> Tensor:
    """n samples by the midpoint rule."""
    centre, scale = data.mean(0), float((data - data.mean(0)).square().sum(1).mean().sqrt())
    x = centre + scale * torch.randn(n, data.shape[1], generator=generator, dtype=data.dtype)
    for i in range(steps):
        t = torch.full((n,), (i + 0.5) / steps)
        x = x + field(x + field(x, t) / (2 * steps), t).double() / steps
    return x


def ambient(seed: int) -> Row:
    """20,000 uniform points of a torus: 5000 samples of flows within it and around it, how far they are from it, and their Betti numbers."""
    torus, generator = Torus(), seeded(seed)
    data = torus.sample(20_000, generator)
    inside = fit_flow(data, torus, settings=field_settings(4000), generator=generator, quiet=True).distribution.sample((5000,), generator=generator)
    outside = carried_straight(ambient_field(data, 4000, straight, seed), data, 5000, generator)
    far, clouds = 0.01 * torus.diameter, {"within": inside, "ambient": outside}
    distances = {f"distance_{name}": float(torus.distance(x).mean()) for name, x in clouds.items()}
    off = {f"off_pct_{name}": 100 * float((torus.distance(x) > far).double().mean()) for name, x in clouds.items()}
    betti = {f"betti_{name}": str(dict(topogen.verify(x, expect="torus").subject_betti)) for name, x in clouds.items()}
    return {**off, **distances, **betti}


@pytest.mark.parametrize("seed", SEEDS)
def test_ambient(seed):
    found = row("carried_ambient", f"torus-{seed}", lambda: ambient(seed))
    print("\n" + markdown([found], tuple(found)))
    assert found["off_pct_within"] == 0


def norms(seed: int) -> Row:
    """E|score|^2 at noise of sizes sigma, within the torus and in R^3: exponents of sigma fitted to it at the four smallest of these."""
    torus, generator = Torus(), seeded(seed)
    data = WrappedNormals(seed, torus).draw(20_000, generator)
    model = fit_diffusion(data, torus, settings=field_settings(4000), horizon=0.05, generator=generator, quiet=True).distribution
    low, high = 0.005, 0.3
    field = ambient_field(data, 4000, denoising(low, high), seed)
    sigmas = torch.logspace(math.log10(0.01), math.log10(0.2), 7, dtype=torch.float64)
    test, found = WrappedNormals(seed, torus).draw(2000, generator), {"within": [], "ambient": []}
    for sigma in sigmas.tolist():
        walked = brownian(torus, test, sigma**2, generator=generator)
        found["within"].append(float(model.score(walked, sigma**2).square().sum(1).mean()))
        share = torch.full((len(test),), math.log(sigma / low) / math.log(high / low))
        noisy = test + sigma * torch.randn(test.shape, generator=generator, dtype=test.dtype)
        found["ambient"].append(float((field(noisy, share) / sigma).square().sum(1).mean()))
    ends = {f"{name}_at_{sigmas[i]:.2g}": values[i] for name, values in found.items() for i in (0, len(sigmas) - 1)}
    return {f"exponent_{name}": exponent(sigmas[:4], torch.tensor(values[:4])) for name, values in found.items()} | ends


def exponent(x: Tensor, y: Tensor) -> float:
    """a of the best y = b x^a, by least squares of logarithms."""
    away = x.log() - x.log().mean()
    return float((away * y.double().log()).sum() / away.square().sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_norms_of_scores(seed):
    found = row("carried_norms", f"torus-{seed}", lambda: norms(seed))
    print("\n" + markdown([found], tuple(found)))
    assert abs(found["exponent_within"]) < 0.3 and found["exponent_ambient"] < -1.5


def sphere_in(ambient_dim: int, generator: torch.Generator) -> tuple[Manifold, Tensor]:
    """The table of a unit sphere in R^D, turned at random."""
    turn = torch.linalg.qr(torch.randn(ambient_dim, 3, generator=generator, dtype=torch.float64)).Q
    points = shapes.get("sphere").sample(20_000, generator) @ turn.T
    return fit_local_polynomials(points, 2), points


def ground_of(dim: int, ambient_dim: int, generator: torch.Generator) -> SampledManifold:
    """A sphere in R^D for d = 2, else a flat torus of dimension d in R^2d."""
    if ambient_dim != 2 * dim:
        table, points = sphere_in(ambient_dim, generator)
        return SampledManifold(table, points, 4 * math.pi, torch.zeros(len(points), dtype=torch.int64))
    return sampled_manifold(FlatTorus(dim), torch.empty(0, ambient_dim), generator=generator)


def cost(dim: int, ambient_dim: int) -> Row:
    """Seconds of 400 steps of training, paths included, and of 2000 samples, beside the same network in R^D."""
    generator = seeded(0)
    ground = ground_of(dim, ambient_dim, generator)
    data, sizes = ground.pool[:5000], Sizes(features=FEATURES, finest=FINEST)
    steps, rows = 400, {}
    plain = seconds(lambda: ambient_field(data, steps, straight, 0))
    for name, fit in (("diffusion", fit_diffusion), ("flow", fit_flow)):
        both = []
        for n in (steps, 3 * steps):
            settings = field_settings(n, judged=1)
            start = time.process_time()
            found = fit(data, ground.manifold, ground=ground, sizes=sizes, settings=settings, generator=seeded(0), quiet=True)
            both.append(time.process_time() - start)
        rows[f"{name}_step_over_ambient"] = (both[1] - both[0]) / 2 / plain
        rows[f"{name}_2000_samples_seconds"] = seconds(lambda found=found: found.distribution.sample((2000,), seeded(1)))
    return {"d": dim, "D": ambient_dim, "ambient_step_ms": 1000 * plain / steps, **rows}


@pytest.mark.parametrize(("dim", "ambient_dim"), [(2, 3), (2, 10), (2, 30), (2, 100), (1, 2), (3, 6), (5, 10), (7, 14)])
def test_cost(dim, ambient_dim):
    found = row("carried_cost", f"d{dim}-D{ambient_dim}", lambda: cost(dim, ambient_dim))
    print("\n" + markdown([found], tuple(found)))


def table_of(name: str) -> Row:
    """Sheets around 20,000 points of a learned surface: how far their projections are from it, and microseconds a projection beside its own."""
    manifold, known = learned(name, 0)
    ground = sampled_manifold(manifold, known, generator=seeded(0))
    near = ground.uniform(torch.zeros(4000, dtype=torch.int64), seeded(1))
    near = near + 0.01 * torch.randn(near.shape, generator=seeded(2), dtype=near.dtype)
    found = ground.fast.project(near)
    away = (manifold.project(found.points).points - found.points).norm(dim=1)
    table, own = (seconds(lambda m=m: m.project(near)) / len(near) * 1e6 for m in (ground.fast, manifold))
    return {"distance_median": float(away.median()), "distance_99_pct": float(away.quantile(0.99)), "table_microseconds": table, "own_microseconds": own}


@pytest.mark.parametrize("name", ["torus", "klein_bottle"])
def test_tables(name):
    found = row("tabulated", name, lambda: table_of(name))
    print("\n" + markdown([found], tuple(found)))
    assert found["distance_median"] < 1e-4


def decay(scheme: str, dim: int) -> Row:
    """E<x_t, x_0> of Brownian motion on the unit d-sphere against exp(-d t / 2) at t = 1, with steps of .15: the error of the rate."""
    sphere, n = shapes.Sphere(dim), 200_000
    x = sphere.sample(n, seeded(0))
    moved = brownian(sphere, x, 1.0, scheme=scheme, step=0.15, generator=seeded(1))
    along = (x * moved).sum(1)
    rate, error = -2 * math.log(float(along.mean())) / dim, 2 * float(along.std() / along.mean()) / n**0.5 / dim
    return {"rate_error_pct": 100 * (rate - 1), "standard_error_pct": 100 * error}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_decay(scheme, dim):
    found = row("brownian", f"S{dim}-{scheme}", lambda: decay(scheme, dim))
    print("\n" + markdown([found], tuple(found)))
