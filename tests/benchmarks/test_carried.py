"""Diffusions and flows within learned manifolds: closed forms, floods and earthquakes, torsions, the bunny, flat tori.

Seeds 0-2 (TOPOGEN_SEEDS); every row is one fit. `gap` is the true mean log density at 2000 held-out points less the model's, in nats. `sliced_ratio`: sliced
Wasserstein distance of 2000 samples to 2000 held-out points over that between parts of the data; draws of the truth have it beside.
"""

import csv
import functools
import math
import os
import pathlib
import time

import pytest
import torch
from rows import Row, markdown, row
from test_atlas_density import WrappedNormals, on_torus, split_earth
from test_energy import one_width
from torch import Tensor

from topogen.distributions.diffusion.fit import fit_diffusion
from topogen.distributions.fields.components import SampledManifold, sampled_manifold
from topogen.distributions.fields.continuous_flow import ContinuousFlow
from topogen.distributions.fields.prepare import Sizes, field_settings
from topogen.distributions.flow.fit import fit_flow
from topogen.distributions.uniform.uniform import Uniform
from topogen.geometry.frames import complement
from topogen.learning.implicit.fit import fit_implicit
from topogen.manifolds import ImplicitManifold, shapes
from topogen.manifolds.base import Manifold
from topogen.manifolds.shapes import FlatTorus, Torus
from topogen.training.trainer import Settings

DATA = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere"))
CLOSED_FORMS = ("torus", "klein_bottle", "projective_plane", "trefoil_knot", "two_spheres")
SEEDS = range(int(os.environ.get("TOPOGEN_SEEDS", "3")))
FITS = {"diffusion": fit_diffusion, "flow": fit_flow}
EVEN = 20_000
real = pytest.mark.skipif(not DATA.is_dir(), reason="TOPOGEN_DATA names no folder of real data")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Bumps:
    """A mixture of six densities exp(k (cos-like)) on a shape: exp(-|x - m_i|^2 / 2 s^2), normalised on 400,000 uniform points of it."""

    def __init__(self, name: str, seed: int, width: float = 0.35, count: int = 6) -> None:
        self.shape, self.width = shapes.get(name), width
        self.means = self.shape.sample(count, seeded(seed))
        logs = self._bump(self.shape.sample(400_000, seeded(seed + 1000)))
        self.norm = torch.logsumexp(logs, 0) - math.log(len(logs)) + math.log(self.shape.volume)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """By rejection from uniform points, each bump as often as the others up to its mass."""
        kept: list[Tensor] = []
        while sum(map(len, kept)) < n:
            x = self.shape.sample(50_000, generator)
            component = torch.randint(len(self.means), (len(x),), generator=generator)
            own = (-torch.cdist(x, self.means).square() / (2 * self.width**2)).gather(1, component[:, None])[:, 0] - self.norm[component]
            accept = torch.rand(len(x), generator=generator, dtype=torch.float64).log() < own + float(self.norm.min())
            kept.append(x[accept])
        return torch.cat(kept)[:n]

    def log_density(self, x: Tensor) -> Tensor:
        return torch.logsumexp(self._bump(x) - self.norm, 1) - math.log(len(self.means))

    def _bump(self, x: Tensor) -> Tensor:
        return -torch.cdist(x, self.means).square() / (2 * self.width**2)


def integral(density: ContinuousFlow, ground: SampledManifold) -> Row:
    """By uniform points of M, with its standard error."""
    value = density.log_density(ground.pool[:EVEN]).exp() * ground.volume
    return {"integral": float(value.mean()), "integral_se": float(value.std() / len(value) ** 0.5)}


def sliced(x: Tensor, y: Tensor, generator: torch.Generator, directions: int = 200) -> float:
    """Sliced Wasserstein distance of order 2 between clouds of one size."""
    turn = torch.nn.functional.normalize(torch.randn(x.shape[1], directions, generator=generator, dtype=x.dtype), dim=0)
    return float(((x @ turn).sort(0).values - (y @ turn).sort(0).values).square().mean().sqrt())


def between_parts(data: Tensor, generator: torch.Generator) -> float:
    """Mean sliced distance of 20 pairs of 2000 of the data."""
    pairs = [[data[torch.randperm(len(data), generator=generator)[:2000]] for _ in range(2)] for _ in range(20)]
    return sum(sliced(x, y, generator) for x, y in pairs) / len(pairs)


def measured(kind: str, truth: "Bumps | WrappedNormals", manifold: Manifold, known: Tensor, seed: int, n: int = 20_000) -> Row:
    generator = seeded(seed)
    data, test = truth.draw(n, generator), truth.draw(2000, generator)
    ground = sampled_manifold(manifold, known, generator=generator)
    start = time.process_time()
    fitted = FITS[kind](data, manifold, ground=ground, generator=generator, quiet=True)
    seconds = time.process_time() - start
    gap = truth.log_density(test) - fitted.distribution.log_prob(test)
    start = time.process_time()
    drawn = fitted.distribution.sample((10_000,), generator=generator)
    sampling = time.process_time() - start
    apart = between_parts(data, generator)
    held = torch.isfinite(gap)
    weights = torch.bincount(ground.component(drawn), minlength=ground.count).double() / len(drawn)
    own = torch.bincount(ground.component(data), minlength=ground.count).double() / len(data)
    return {
        "gap": float(gap[held].mean()), "gap_se": float(gap[held].std() / held.sum() ** 0.5), "unprojected": int((~held).sum()),
        **integral(fitted.distribution, ground), "weights_off_pct": 100 * float((weights - own).abs().max()),
        "sliced_ratio": sliced(drawn[:2000], test, generator) / apart,
        "residual": float(manifold.project(drawn).residual.max()), "fit_seconds": seconds, "sample_10k_seconds": sampling,
    }  # fmt: skip


def learned(name: str, seed: int) -> tuple[Manifold, Tensor]:
    """The shape learned from 5000 uniform points, and these points."""
    even = shapes.get(name).sample(5000, seeded(seed))
    fitted = fit_implicit(even, shapes.get(name).dim, boundary=False, generator=seeded(seed), quiet=True)
    return fitted.manifold, fitted.anchors


def truth_on(name: str, seed: int) -> "Bumps | WrappedNormals":
    return WrappedNormals(seed, Torus()) if name == "torus" else Bumps(name, seed)


def closed_form(kind: str, name: str, seed: int) -> Row:
    manifold, known = learned(name, seed)
    return measured(kind, truth_on(name, seed), manifold, known, seed)


def exact(name: str, seed: int, draws: int = 40) -> Row:
    """The sliced ratio of draws of the truth itself against the held-out points of `measured`: what its chance alone makes of it."""
    truth, generator = truth_on(name, seed), seeded(seed)
    data, test = truth.draw(20_000, generator), truth.draw(2000, generator)
    apart = between_parts(data, generator)
    found = torch.tensor([sliced(truth.draw(2000, generator), test, generator) / apart for _ in range(draws)])
    return {"sliced_ratio": float(found.mean()), "of 40 the second largest": float(found.sort().values[-2]), "above 1.1": float((found > 1.1).double().mean())}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_form(name, kind, seed):
    found = row("carried", f"{name}-{kind}-{seed}", lambda: closed_form(kind, name, seed))
    print("\n" + markdown([found], tuple(found)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_draws_of_the_truth(name, seed):
    found = row("carried_exact", f"{name}-{seed}", lambda: exact(name, seed))
    print("\n" + markdown([found], tuple(found)))


def rotations(kind: str, seed: int) -> Row:
    """A mixture of 16 on the given SO(3) in R^9."""
    truth = Bumps("special_orthogonal", seed, width=0.7, count=16)
    return measured(kind, truth, truth.shape, truth.means, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", FITS)
def test_rotations(kind, seed):
    found = row("carried", f"rotations16-{kind}-{seed}", lambda: rotations(kind, seed))
    print("\n" + markdown([found], tuple(found)))


def stretch_to_sphere(manifold: Manifold, x: Tensor) -> Tensor:
    """log |det| (n,) of the radial projection from M to the unit sphere: both densities are then on the true sphere."""
    y = manifold.project(x).points
    length = y.norm(dim=1)
    out = y / length.unsqueeze(1)
    there, here = complement(out.unsqueeze(-1)), manifold.tangent_basis(y)
    return torch.linalg.det(there.mT @ here).abs().log() - 2 * length.log()


def earth(kind: str, name: str, seed: int) -> Row:
    generator = seeded(seed)
    (training, validation, test), fitted, uniform = split_earth(name, generator)
    ground = sampled_manifold(fitted.manifold, fitted.anchors, uniform=uniform, generator=generator)
    start = time.process_time()
    found = FITS[kind](
        training,
        fitted.manifold,
        held_out=validation,
        ground=ground,
        sizes=Sizes(192, 3, 128, 60.0),
        settings=field_settings(10_000),
        generator=generator,
        quiet=True,
    )
    seconds = time.process_time() - start
    log_p = found.distribution.log_prob(test) - stretch_to_sphere(fitted.manifold, test)
    paired = one_width(training, test, validation, 2)[1] - log_p
    return {
        "nll": -float(log_p.mean()), "validation_nll": -found.held_out, "less_kernel": float(paired.mean()),
        "less_kernel_se": float(paired.std() / len(test) ** 0.5),
        "uniform_nll": math.log(4 * math.pi), **integral(found.distribution, ground), "fit_seconds": seconds,
    }  # fmt: skip


@real
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("name", ["flood", "quakes_all"])
def test_earth(name, kind, seed):
    found = row("carried_earth", f"{name}-{kind}-{seed}", lambda: earth(kind, name, seed))
    print("\n" + markdown([found], tuple(found)))


def rna(seed: int) -> Row:
    """Seven torsion angles on the given flat torus; density with respect to the angles, radians."""
    with (DATA / "rna_torsion" / "rna.tsv").open(encoding="utf-8") as file:
        rows = [[float(v) for v in line[2:]] for line in csv.reader(file, delimiter="\t") if len(line) == 9]
    angles = torch.deg2rad(torch.tensor(rows, dtype=torch.float64))
    data = on_torus(angles)[torch.randperm(len(angles), generator=seeded(seed))]
    training, validation, test = data.tensor_split([int(0.8 * len(data)), int(0.9 * len(data))])
    torus = FlatTorus(7)
    start = time.process_time()
    found = fit_flow(training, torus, held_out=validation, sizes=Sizes(256, 4, 192, 20.0), settings=field_settings(20_000), generator=seeded(seed), quiet=True)
    seconds = time.process_time() - start
    log_p = found.distribution.log_prob(test)
    return {"nll": -float(log_p.mean()), "nll_se": float(log_p.std() / len(test) ** 0.5), "validation_nll": -found.held_out, "fit_seconds": seconds}


@real
@pytest.mark.parametrize("seed", SEEDS)
def test_rna(seed):
    found = row("carried_rna", f"rna-flow-{seed}", lambda: rna(seed))
    print("\n" + markdown([found], tuple(found)))


def flat(kind: str, dim: int, seed: int) -> Row:
    """Products of wrapped normals of width .5 in four clusters on a learned flat torus, 20,000 points."""
    generator, torus = seeded(seed), FlatTorus(dim)
    means = 2 * math.pi * torch.rand(4, dim, generator=generator, dtype=torch.float64)

    def draw(n: int) -> Tensor:
        return means[torch.randint(4, (n,), generator=generator)] + 0.5 * torch.randn(n, dim, generator=generator, dtype=torch.float64)

    def log_density(angle: Tensor) -> Tensor:
        turned = (angle[:, None] - means)[..., None] + 2 * math.pi * torch.arange(-2, 3)
        wrapped = torch.logsumexp(-turned.square() / (2 * 0.25), -1) - 0.5 * math.log(2 * math.pi * 0.25)
        return torch.logsumexp(wrapped.sum(-1), 1) - math.log(4)

    even = torus.sample(20_000, generator)
    manifold = fit_implicit(even, dim, boundary=False, generator=generator, quiet=True).manifold
    data, test = draw(20_000), draw(2000)
    start = time.process_time()
    found = FITS[kind](on_torus(data), manifold, uniform=Uniform(manifold, points=even, generator=generator), generator=generator, quiet=True)
    gap = log_density(test) - found.distribution.log_prob(on_torus(test))
    return {"gap": float(gap.mean()), "gap_se": float(gap.std() / len(gap) ** 0.5), "fit_seconds": time.process_time() - start}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dim", [3])
def test_flat_tori(dim, seed):
    found = row("carried_flat", f"flat_torus-{dim}-flow-{seed}", lambda: flat("flow", dim, seed))
    print("\n" + markdown([found], tuple(found)))


def eigenfunction(k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vertices (v, 3) and faces of the bunny, scaled by 1/250 and split once, the positive part of the k-th eigenfunction at them, and the areas of the faces.

    Cotangent Laplacian, lumped masses. The density is that function, linear on faces, over its integral.
    """
    import trimesh
    from scipy.sparse import coo_array, diags_array
    from scipy.sparse.linalg import eigsh

    mesh = trimesh.load(DATA / "meshes" / "bunny_simp.obj", process=True).subdivide()
    vertices, faces = torch.from_numpy(mesh.vertices.copy()).double() / 250, torch.from_numpy(mesh.faces.copy()).long()
    corner = vertices[faces]
    doubled = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]).norm(dim=1)
    rows, columns, values = [], [], []
    for i in range(3):
        a, b, c = faces[:, i], faces[:, (i + 1) % 3], faces[:, (i + 2) % 3]
        cotangent = ((vertices[b] - vertices[a]) * (vertices[c] - vertices[a])).sum(1) / doubled / 2
        rows += [b, c, b, c]
        columns += [c, b, b, c]
        values += [-cotangent, -cotangent, cotangent, cotangent]
    stiffness = coo_array((torch.cat(values).numpy(), (torch.cat(rows).numpy(), torch.cat(columns).numpy()))).tocsc()
    mass = torch.zeros(len(vertices), dtype=torch.float64).index_add_(0, faces.flatten(), (doubled / 6).repeat_interleave(3))
    _, vectors = eigsh(stiffness, k=k + 1, M=diags_array(mass.numpy()).tocsc(), sigma=-1e-2, v0=mass.numpy())
    return vertices, faces, torch.from_numpy(vectors[:, k].copy()).clamp_min(0), doubled / 2


def on_mesh(n: int, k: int, generator: torch.Generator, known: int = 40_000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """n points with the density of `eigenfunction`, their log densities and tangents (n, 3, 2), and `known` points that are even on the mesh."""
    vertices, faces, height, area = eigenfunction(k)
    total, top = float((area * height[faces].mean(1)).sum()), float(height.max())
    corner = vertices[faces]
    tangent = torch.linalg.qr(torch.stack([corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]], 2)).Q

    def even(count: int) -> tuple[Tensor, Tensor, Tensor]:
        face = torch.multinomial(area, count, replacement=True, generator=generator)
        share = torch.rand(count, 2, generator=generator, dtype=torch.float64).sort(1).values
        share = torch.stack([share[:, 0], share[:, 1] - share[:, 0], 1 - share[:, 1]], 1)
        return (share.unsqueeze(2) * vertices[faces[face]]).sum(1), (share * height[faces[face]]).sum(1), face

    x, value, face = even(40 * n)
    kept = value > top * torch.rand(len(value), generator=generator, dtype=torch.float64)
    return x[kept][:n], (value[kept][:n] / total).log(), tangent[face[kept][:n]], even(known)[0]


def stretch_of_projection(manifold: Manifold, x: Tensor, tangent: Tensor, step: float = 1e-4) -> Tensor:
    """log |det| (n,) of the projection to M on the plane that `tangent` (n, 3, 2) spans at x, by central differences."""
    basis = manifold.tangent_basis(manifold.project(x).points)
    columns = [(manifold.project(x + step * t).points - manifold.project(x - step * t).points) / (2 * step) for t in tangent.unbind(2)]
    return torch.linalg.det(basis.mT @ torch.stack(columns, 2)).abs().log()


@functools.cache
def learned_bunny(seed: int) -> tuple[ImplicitManifold, SampledManifold, float]:
    """The surface learned from 40,000 even points of the mesh, twice as long as usual with batches twice as large, its ground, and the seconds."""
    generator, start = seeded(seed), time.process_time()
    known = on_mesh(1, 10, generator)[3]
    manifold = fit_implicit(known, 2, boundary=False, settings=Settings(steps=8000, batch_size=1024), generator=generator, quiet=True).manifold
    return manifold, sampled_manifold(manifold, known, generator=generator), time.process_time() - start


def bunny(kind: str, k: int, seed: int) -> Row:
    """50,000 points, 80/10/10, on the learned surface.

    Densities are with respect to the area of the mesh, by the stretch of the projection from it to the learned surface, which has less area where it is rough.
    """
    generator = seeded(seed)
    data, truth, tangent, _ = on_mesh(50_000, k, generator)
    manifold, ground, surface = learned_bunny(seed)
    training, validation, test = data.tensor_split([int(0.8 * len(data)), int(0.9 * len(data))])
    start = time.process_time()
    found = FITS[kind](training, manifold, held_out=validation, ground=ground, generator=generator, quiet=True)
    seconds, tested = time.process_time() - start, slice(int(0.9 * len(data)), None)
    log_p = found.distribution.log_prob(test) + stretch_of_projection(manifold, test, tangent[tested])
    held = torch.isfinite(log_p)
    gap = (truth[tested] - log_p)[held]
    return {
        "nll": -float(log_p[held].mean()), "entropy": -float(truth.mean()), "gap": float(gap.mean()), "gap_se": float(gap.std() / len(gap) ** 0.5),
        "unprojected": int((~held).sum()), "log_area": math.log(ground.volume), "log_area_of_mesh": math.log(float(eigenfunction(k)[3].sum())),
        **integral(found.distribution, ground), "surface_seconds": surface, "fit_seconds": seconds,
    }  # fmt: skip


@real
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("k", [10, 50])
def test_bunny(k, kind, seed):
    found = row("carried_bunny", f"bunny{k}-{kind}-{seed}", lambda: bunny(kind, k, seed))
    print("\n" + markdown([found], tuple(found)))
