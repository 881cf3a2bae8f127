"""Learned energies against closed forms, and floods on a sphere learned from them; a kernel density estimate on the same split beside every figure."""

import math
import os
import pathlib
import time

import pytest
import torch
from rows import Row, markdown, row
from torch import Tensor

from topogen import points
from topogen.distributions import Uniform
from topogen.distributions.energy.fit import fit_energy
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.meshing import extract_mesh
from topogen.learning.implicit.fit import fit_implicit

DATA = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere"))
SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "5")))
CENTRES = (-1.8, 1.8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def angles(n: int, kappa: float, generator: torch.Generator) -> Tensor:
    """n angles with density exp(kappa cos) / (2 pi I0(kappa)), by rejection."""
    angle = math.pi * (2 * torch.rand(50 * n, generator=generator, dtype=torch.float64) - 1)
    return angle[torch.rand(50 * n, generator=generator, dtype=torch.float64).log() < kappa * (angle.cos() - 1)][:n]


def on_circle(angle: Tensor, centre: float = 0.0) -> Tensor:
    return torch.stack([angle.cos() + centre, angle.sin()], -1)


def von_mises(grid: Tensor, kappa: float = 2.0) -> Tensor:
    return kappa * grid.cos() - math.log(2 * math.pi) - torch.special.i0(torch.tensor(kappa, dtype=torch.float64)).log()


def one_width(data: Tensor, queries: Tensor, held_out: Tensor, dim: int) -> tuple[float, Tensor]:
    """Gaussian kernels of one width, the best of ten on the held-out part: its log density at the queries, normalised as in the plane of the data."""

    def density(x: Tensor, width: float) -> Tensor:
        logs = -torch.cdist(x, data).square() / (2 * width**2)
        return torch.logsumexp(logs, 1) - math.log(len(data)) - dim * math.log(width * math.sqrt(2 * math.pi))

    widths = [float(w) for w in torch.logspace(-2.2, -0.3, 10)]
    best = max(widths, key=lambda w: float(density(held_out, w).mean()))
    return best, density(queries, best)


def circle(seed: int) -> Row:
    generator = seeded(seed)
    data = on_circle(angles(1000, 2.0, generator))
    start = time.process_time()
    fitted = fit_implicit(data, 1, boundary=False, generator=generator, quiet=True)
    density = fit_energy(data[:900], fitted.manifold, generator=generator, quiet=True).distribution
    seconds = time.process_time() - start
    grid = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * 2 * math.pi
    log_p, truth, weight = density.log_prob(on_circle(grid)), von_mises(grid), 2 * math.pi / 4000
    kernel = one_width(data[:900], on_circle(grid), data[900:], 1)[1]
    kernel = kernel - (kernel.exp().sum() * weight).log()
    mean = float((log_p.exp() * grid.cos()).sum() * weight)
    return {
        "kl": float((truth.exp() * (truth - log_p)).sum() * weight), "kernel_kl": float((truth.exp() * (truth - kernel)).sum() * weight),
        "mean_error_pct": 100 * (mean / float(data[:900, 0].mean()) - 1), "integral": float(log_p.exp().sum() * weight), "seconds": seconds,
    }  # fmt: skip


def two_circles(seed: int) -> Row:
    generator = seeded(seed)
    left = angles(500, 2.0, generator)
    right = angles(500, 2.0, generator) + math.pi
    data = torch.cat([on_circle(left, CENTRES[0]), on_circle(right, CENTRES[1])])[torch.randperm(1000, generator=generator)]
    start = time.process_time()
    fitted = fit_implicit(data, 1, boundary=False, generator=generator, quiet=True)
    density = fit_energy(data[:900], fitted.manifold, generator=generator, quiet=True).distribution
    seconds = time.process_time() - start
    grid = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * 2 * math.pi
    weight = 2 * math.pi / 4000
    parts = [density.log_prob(on_circle(grid, centre)) for centre in CENTRES]
    truths = [von_mises(grid + shift) - math.log(2) for shift in (0, math.pi)]
    kernel = [one_width(data[:900], on_circle(grid, centre), data[900:], 1)[1] for centre in CENTRES]
    kernel = [part - (sum(k.exp().sum() for k in kernel) * weight).log() for part in kernel]
    share = float((data[:900, 0] < 0).double().mean())
    divergence = lambda found: sum(float((t.exp() * (t - f)).sum() * weight) for t, f in zip(truths, found, strict=True))  # noqa: E731
    drawn = density.sample((40_000,), generator=generator)
    return {
        "kl": divergence(parts), "kernel_kl": divergence(kernel), "integral": float(sum(part.exp().sum() for part in parts) * weight),
        "mass_error_pct": 100 * (float((drawn[:, 0] < 0).double().mean()) - share), "seconds": seconds,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("measure", [circle, two_circles], ids=lambda measure: measure.__name__)
def test_closed_form(measure, seed):
    found = row("energy", f"{measure.__name__}-{seed}", lambda: measure(seed))
    print("\n" + markdown([found], tuple(found)))


def floods(seed: int) -> Row:
    """80/10/10 split by the seed's permutation; the sphere is learned from the first part and has no boundary, though floods happen on land."""
    data = points.read(DATA / "earth" / "flood.csv", latlon=True)
    generator = seeded(seed)
    order = torch.randperm(len(data), generator=generator)
    training, validation, test = data[order].tensor_split([int(0.8 * len(data)), int(0.9 * len(data))])
    start = time.process_time()
    fitted = fit_implicit(training, 2, boundary=False, generator=generator, quiet=True)
    uniform = Uniform(fitted.manifold, points=fitted.anchors, generator=generator)
    learned = fit_energy(training, fitted.manifold, uniform=uniform, generator=generator, quiet=True)
    seconds = time.process_time() - start
    log_p = learned.distribution.log_prob(test)
    width, kernel = one_width(training, test, validation, 2)
    integral, integral_error, area = by_mesh(fitted.manifold, learned.distribution, training)
    return {
        "held_out_nll": -float(log_p.mean()), "standard_error": float(log_p.std() / len(test) ** 0.5), "kernel_nll": -float(kernel.mean()),
        "kernel_width": width, "integral_by_mesh": integral, "integral_error": integral_error, "area_by_mesh": area, "area": uniform.volume.value,
        "distance_to_sphere": float((fitted.manifold.project(test).points.norm(dim=1) - 1).abs().mean()), "seconds": seconds, "notes": "; ".join(learned.notes),
    }  # fmt: skip


def by_mesh(manifold, density, near: Tensor, cells: int = 64, splits: int = 3) -> tuple[float, float, float]:
    """Integral of the density with its standard error, and the area, over the small triangles of a marching-cubes mesh, drawn by their distance to `near`."""
    low, high = torch.full((3,), -1.3, dtype=torch.float64), torch.full((3,), 1.3, dtype=torch.float64)
    vertices, faces = extract_mesh(lambda x: manifold.value(x)[:, 0], low, high, cells)
    corners = vertices[faces]
    for _ in range(splits):
        a, b, c = corners.unbind(1)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        corners = torch.stack([torch.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))], 1).reshape(-1, 3, 3)
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 2
    stratum = torch.bucketize(nearest(near, 1, corners.mean(1))[0].squeeze(1), torch.tensor([0.004, 0.01, 0.03, 0.1], dtype=torch.float64))
    integral, variance = 0.0, 0.0
    for k in range(5):
        mine = (stratum == k).nonzero().squeeze(1)
        chosen = mine[torch.multinomial(area[mine], 20_000, replacement=True, generator=seeded(k))]
        value = density.log_prob(_inside(corners[chosen], seeded(10 + k))).exp() * area[mine].sum()
        integral, variance = integral + float(value.mean()), variance + float(value.var()) / len(value)
    return integral, variance**0.5, float(area.sum())


def _inside(corners: Tensor, generator: torch.Generator) -> Tensor:
    """One uniform point (n, 3) of each triangle (n, 3, 3)."""
    u, v = torch.rand(2, len(corners), 1, generator=generator, dtype=torch.float64)
    root = u.sqrt()
    return (1 - root) * corners[:, 0] + root * (1 - v) * corners[:, 1] + root * v * corners[:, 2]


@pytest.mark.skipif(not DATA.is_dir(), reason="TOPOGEN_DATA names no folder of real data")
@pytest.mark.parametrize("seed", SEEDS)
def test_floods(seed):
    found = row("floods", f"flood-{seed}", lambda: floods(seed))
    print("\n" + markdown([found], tuple(found)))
