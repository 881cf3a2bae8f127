"""Densities over charts against closed forms, and on floods, earthquakes and protein torsions; kernels of one width on the same split beside every figure."""

import csv
import math
import os
import pathlib
import time

import numpy as np
import pytest
import torch
from rows import Row, markdown, row
from test_energy import angles, on_circle, one_width, von_mises
from torch import Tensor

from topogen import points
from topogen.distributions import Uniform, fit_fine_charts
from topogen.distributions.charts.fit import FittedCharts
from topogen.distributions.energy.fit import fit_energy
from topogen.learning import fit_implicit
from topogen.learning.implicit.fit import Fitted
from topogen.manifolds.base import Manifold
from topogen.manifolds.shapes import FlatTorus, Torus

DATA = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere"))
SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "5")))
WIDTH = 0.35
MANY = 100_000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class WrappedNormals:
    """Six wrapped normals of width .35 in the angles of the torus, as a density with respect to area."""

    def __init__(self, seed: int, torus: Torus) -> None:
        self.means = 2 * math.pi * torch.rand(6, 2, generator=seeded(seed), dtype=torch.float64)
        self.ring, self.tube = torus.R, torus.r

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        u, v = (self.means[torch.randint(6, (n,), generator=generator)] + WIDTH * torch.randn(n, 2, generator=generator, dtype=torch.float64)).T
        across = self.ring + self.tube * v.cos()
        return torch.stack([across * u.cos(), across * u.sin(), self.tube * v.sin()], -1)

    def log_density(self, x: Tensor) -> Tensor:
        u, v = torch.atan2(x[:, 1], x[:, 0]), torch.atan2(x[:, 2], x[:, :2].norm(dim=1) - self.ring)
        both = self._wrapped(u[:, None] - self.means[:, 0]) + self._wrapped(v[:, None] - self.means[:, 1])
        return torch.logsumexp(both, 1) - math.log(6) - torch.log(self.tube * (self.ring + self.tube * v.cos()))

    def _wrapped(self, delta: Tensor) -> Tensor:
        turned = delta[..., None] + 2 * math.pi * torch.arange(-2, 3)
        return torch.logsumexp(-(turned**2) / (2 * WIDTH**2), -1) - 0.5 * math.log(2 * math.pi * WIDTH**2)


def facts(fitted: FittedCharts) -> Row:
    """What was chosen, and the share of the draws that finds a point."""
    mixture = fitted.distribution
    return {"charts": mixture.atlas.count, "cross_validated_nll": -fitted.report.held_out, "covered": mixture.covered.value}


def integrated(fitted: FittedCharts, uniform: Uniform, generator: torch.Generator) -> Row:
    """The integral of the density over M by uniform points, its standard error, and the seconds that 100,000 densities take."""
    x = uniform.sample((MANY,), generator=generator)
    start, wall = time.process_time(), time.perf_counter()
    density = fitted.distribution.log_prob(x).exp()
    took = {"log_prob_seconds": time.process_time() - start, "log_prob_wall": time.perf_counter() - wall}
    volume = uniform.volume
    error = math.hypot(volume.value * float(density.std()) / MANY**0.5, volume.standard_error * float(density.mean()))
    return {"integral": volume.value * float(density.mean()), "integral_error": error, **took}


def torus_normals(seed: int, learned: bool) -> Row:
    """8000 points to learn from, 3000 to judge at; learned: the torus too, from the same points, which leave parts of it nearly empty."""
    shape, generator = Torus(), seeded(seed)
    truth = WrappedNormals(seed, shape)
    train, test = truth.draw(8000, generator), truth.draw(3000, generator)
    start = time.process_time()
    manifold: Manifold = fit_implicit(train, 2, boundary=False, generator=generator, quiet=True).manifold if learned else shape
    fitted = fit_fine_charts(train, manifold, generator=generator)
    seconds = time.process_time() - start
    gap = truth.log_density(test) - fitted.distribution.log_prob(test)
    held = torch.isfinite(gap)
    uniform = Uniform(manifold, points=train if learned else None, generator=generator)
    distance = float(shape.distance(manifold.project(test).points).mean())
    return {
        "gap": float(gap[held].mean()), "gap_error": float(gap[held].std() / held.sum() ** 0.5), "zero_density": int((~held).sum()),
        **integrated(fitted, uniform, generator), "distance_to_torus": distance, **facts(fitted), "seconds": seconds,
    }  # fmt: skip


def circle(seed: int) -> Row:
    """As the row of the energies: von Mises, kappa 2, a thousand points, the circle learned."""
    generator = seeded(seed)
    data = on_circle(angles(1000, 2.0, generator))
    start = time.process_time()
    manifold = fit_implicit(data, 1, boundary=False, generator=generator, quiet=True).manifold
    fitted = fit_fine_charts(data[:900], manifold, generator=generator)
    seconds = time.process_time() - start
    grid = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * 2 * math.pi
    truth, weight = von_mises(grid), 2 * math.pi / 4000
    kernel = one_width(data[:900], on_circle(grid), data[900:], 1)[1]
    kernel = kernel - (kernel.exp().sum() * weight).log()
    found = fitted.distribution.log_prob(on_circle(grid))
    kl, kernel_kl = (float((truth.exp() * (truth - log_p)).sum() * weight) for log_p in (found, kernel))
    return {"kl": kl, "kernel_kl": kernel_kl, "integral": float(found.exp().sum() * weight), **facts(fitted), "seconds": seconds}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["given", "learned"])
def test_torus(kind, seed):
    found = row("atlas_density_torus", f"torus-{kind}-{seed}", lambda: torus_normals(seed, kind == "learned"))
    print("\n" + markdown([found], tuple(found)))


@pytest.mark.parametrize("seed", SEEDS)
def test_circle(seed):
    found = row("atlas_density_circle", f"circle-{seed}", lambda: circle(seed))
    print("\n" + markdown([found], tuple(found)))


def split_earth(name: str, generator: torch.Generator) -> tuple[tuple[Tensor, ...], Fitted, Uniform]:
    """Events to learn from, to choose by and to test with (80/10/10), the sphere learned from the first, and its uniform distribution."""
    data = points.read(DATA / "earth" / f"{name}.csv", latlon=True)
    order = torch.randperm(len(data), generator=generator)
    parts = data[order].tensor_split([int(0.8 * len(data)), int(0.9 * len(data))])
    fitted = fit_implicit(parts[0], 2, boundary=False, generator=generator, quiet=True)
    return parts, fitted, Uniform(fitted.manifold, points=fitted.anchors, generator=generator)


def earth(name: str, seed: int) -> Row:
    """The split of the floods among the energies; the sphere is learned from the first part."""
    generator = seeded(seed)
    (training, validation, test), fitted, uniform = split_earth(name, generator)
    start = time.process_time()
    charted = fit_fine_charts(training, fitted.manifold, generator=generator)
    seconds = time.process_time() - start
    log_p = charted.distribution.log_prob(test)
    held = torch.isfinite(log_p)
    energy = fit_energy(training, fitted.manifold, uniform=uniform, generator=generator, quiet=True).distribution.log_prob(test)
    kernel = one_width(training, test, validation, 2)[1]
    return {
        "charts_nll": -float(log_p[held].mean()), "standard_error": float(log_p[held].std() / held.sum() ** 0.5), "zero_density": int((~held).sum()),
        "energy_nll": -float(energy.mean()), "kernel_nll": -float(kernel.mean()), **integrated(charted, uniform, generator), **facts(charted),
        "seconds": seconds,
    }  # fmt: skip


def torsions(name: str) -> Tensor:
    """Angles (n, 2) of the residues of one class, as they are printed, with two decimals."""
    with (DATA / "protein_torsion" / "top500_phi_psi.csv").open(encoding="utf-8") as file:
        rows = [(float(entry["phi_rad"]), float(entry["psi_rad"])) for entry in csv.DictReader(file) if entry["class"] == name]
    return torch.tensor(rows, dtype=torch.float64)


def wrapped_kernels(data: Tensor, kappa: float, share: float, queries: Tensor) -> Tensor:
    """log of (1 - share) times products of von Mises kernels around the data, plus share of the uniform density, at angles (m, 2)."""
    log_bessel = math.log(float(torch.special.i0e(torch.tensor(kappa, dtype=torch.float64))))
    cosines = sum(torch.cos(queries[:, i, None] - data[:, i]) - 1 for i in range(2))
    logs = torch.logsumexp(kappa * cosines, 1) - math.log(len(data)) - 2 * (math.log(2 * math.pi) + log_bessel)
    return torch.logaddexp(logs + math.log1p(-share), torch.full_like(logs, math.log(share) - 2 * math.log(2 * math.pi)))


def best_kernels(training: Tensor, validation: Tensor, test: Tensor) -> Tensor:
    """The best of 28 widths and 5 shares on the validation part, at the test part."""
    tried = [(float(kappa), share) for kappa in np.geomspace(5, 1e7, 28) for share in (0.01, 0.05, 0.1, 0.2, 0.3)]
    best = max(tried, key=lambda found: float(wrapped_kernels(training, *found, validation).mean()))
    return wrapped_kernels(training, *best, test)


def protein(name: str, seed: int) -> Row:
    """80/10/10 by numpy's default_rng(seed), angles moved within their last digit; density with respect to d phi d psi, the area of the flat torus."""
    data, draws = torsions(name), np.random.default_rng(seed)
    order = draws.permutation(len(data))
    data = (data + torch.from_numpy(draws.uniform(-0.005, 0.005, data.shape)))[torch.from_numpy(order)]
    training, validation, test = data.tensor_split([int(0.8 * len(data)), int(0.9 * len(data))])
    start = time.process_time()
    charted = fit_fine_charts(on_torus(training), FlatTorus(), generator=seeded(seed))
    seconds = time.process_time() - start
    log_p = charted.distribution.log_prob(on_torus(test))
    held = torch.isfinite(log_p)
    kernel = best_kernels(training, validation, test)
    return {
        "charts_nll": -float(log_p[held].mean()), "standard_error": float(log_p[held].std() / held.sum() ** 0.5), "zero_density": int((~held).sum()),
        "kernel_nll": -float(kernel.mean()), **integrated(charted, Uniform(FlatTorus(), seed=seed), seeded(seed)), **facts(charted), "seconds": seconds,
    }  # fmt: skip


def on_torus(angle: Tensor) -> Tensor:
    """Angles (n, 2) as points (n, 4) of the flat torus."""
    return torch.stack([angle.cos(), angle.sin()], -1).flatten(1)


@pytest.mark.skipif(not DATA.is_dir(), reason="TOPOGEN_DATA names no folder of real data")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["flood", "quakes_all"])
def test_earth(name, seed):
    found = row("atlas_density_earth", f"{name}-{seed}", lambda: earth(name, seed))
    print("\n" + markdown([found], tuple(found)))


@pytest.mark.skipif(not DATA.is_dir(), reason="TOPOGEN_DATA names no folder of real data")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["Glycine"])
def test_protein(name, seed):
    found = row("atlas_density_protein", f"{name}-{seed}", lambda: protein(name, seed))
    print("\n" + markdown([found], tuple(found)))
