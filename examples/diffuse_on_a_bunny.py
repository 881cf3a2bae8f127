"""Diffusion within a surface that was learned: noise all over a bunny walks back into stripes.

With --mesh FILE, or the bunny in TOPOGEN_DATA, the vertices are taken as a cloud and a surface is learned from them; without either it is a torus that is given
by an equation, so that the example runs everywhere. Points of the surface are drawn with density

    p(x) = exp(3 sin(6 pi h)) / Z,      h the share of the length of the surface at which x lies, Z by the mean over uniform points

and a Riemannian diffusion learns p from them: held-out points are scored by the model and by p itself.
The picture shows the reverse walk from noise to samples, and the densities as colour on the surface.

    python examples/diffuse_on_a_bunny.py --mesh bunny.obj --output bunny.png
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import topogen
from topogen.distributions import field_settings
from topogen.distributions.diffusion.fit import fit_diffusion
from topogen.distributions.diffusion.reverse import reverse_walk
from topogen.distributions.fields.components import SampledManifold
from topogen.distributions.uniform.uniform import Uniform
from topogen.manifolds import ImplicitManifold, shapes
from topogen.topology.level_sets.surfaces import mesh_of
from topogen.training import Settings

STRENGTH, STRIPES = 3.0, 3
POOL, STEPS, RESOLUTION = 20_000, 4000, 44
# Smaller ones in short mode, to try it out.
POOL_IN_SHORT, STEPS_IN_SHORT, RESOLUTION_IN_SHORT = 8000, 300, 22
HELD_OUT, WALKERS, STAGES = 500, 2000, 6
# The time (squared lengths of the surface) when nearly nothing is left of the stripes.
SINCE = 0.05


def main() -> int:
    """Learn the surface and the density, score, walk, draw; returns 0 if held-out points are likelier than if they were uniform."""
    options = parse()
    generator = torch.Generator().manual_seed(options.seed)
    manifold, points = surface(options, generator)
    uniform = Uniform(manifold, points=points, generator=generator)
    pool = uniform.sample((POOL_IN_SHORT if options.short else POOL,), generator)
    area, weights = uniform.volume.value, striped(pool, points)
    normaliser = math.log(float(weights.mean()) * area)
    data = pool[weights > weights.max() * torch.rand(len(pool), generator=generator, dtype=torch.float64)]
    held, learn = data[: len(data) // 5][:HELD_OUT], data[len(data) // 5 :]
    fitted = fit_diffusion(
        learn, manifold, ground=SampledManifold(manifold, pool, area), settings=training(options.short), generator=generator, quiet=options.short
    )

    found, true = -float(fitted.distribution.log_prob(held).mean()), normaliser - float(striped(held, points).log().mean())
    walkers, steps = (WALKERS // 2, 40) if options.short else (WALKERS, 200)
    stages = reverse_walk(fitted.distribution, walkers, steps=steps, keep=STAGES - 1, since=SINCE, generator=generator)
    print(f"{len(learn)} points learned from; the walk ends {float(manifold.project(stages[-1]).residual.abs().max()):.0e} off the surface at most")
    vertices, faces = mesh_of(manifold, points, RESOLUTION_IN_SHORT if options.short else RESOLUTION).without_ghosts()
    densities = {"density p": striped(vertices, points).log() - normaliser, "density of the diffusion": fitted.distribution.log_prob(vertices)}
    draw(options.output, stages, vertices, faces, densities)
    print(f"picture in {options.output}")
    print(f"held-out points on the surface: {found:.3f} nats; by p itself {true:.3f}, uniform {math.log(area):.3f}")
    return 0 if found < math.log(area) else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="A diffusion within a learned surface.")
    parser.add_argument("--mesh", type=Path, help="a mesh whose vertices are the data (default: the bunny in TOPOGEN_DATA, or a torus)")
    parser.add_argument("--output", type=Path, default=Path("diffuse_on_a_bunny.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few points and steps, to try it out, and the torus unless --mesh is given")
    options = parser.parse_args()
    options.mesh = options.mesh if options.mesh is not None or options.short else bunny()
    return options


def bunny() -> Path | None:
    """The mesh that TOPOGEN_DATA holds, if it does."""
    file = Path(os.environ.get("TOPOGEN_DATA", "")) / "meshes" / "bunny_simp.obj"
    return file if file.is_file() else None


def training(short: bool) -> Settings:
    """How the field of the diffusion is trained; in short mode it is judged less often."""
    return field_settings(STEPS_IN_SHORT, judged=2) if short else field_settings(STEPS)


def surface(options: argparse.Namespace, generator: torch.Generator) -> tuple[ImplicitManifold, Tensor]:
    """The surface with known points (n, 3) of it, about one unit long."""
    if options.mesh is None:
        return ImplicitManifold(torus, dim=2, ambient_dim=3), shapes.Torus(1 / 3, 1 / 6).sample(1500, generator=generator)
    cloud = topogen.points.read(options.mesh, vertices=True)
    # Meshes mostly have their second axis pointing up, pictures the third.
    cloud = torch.stack([cloud[:, 0], -cloud[:, 2], cloud[:, 1]], 1)
    cloud = (cloud - cloud.mean(0)) / (cloud.amax(0) - cloud.amin(0)).max()
    # A bunny is closed although its points are uneven.
    model = topogen.fit(cloud, dim=2, closed=True, seed=options.seed, settings=Settings(steps=400) if options.short else None, quiet=options.short)
    return model.manifold, model.anchors


def torus(x: Tensor) -> Tensor:
    """0 on the torus of radii 1/3 and 1/6, (n, 1)."""
    return ((x[:, :2].norm(dim=1) - 1 / 3).square() + x[:, 2].square()).sqrt().sub(1 / 6).unsqueeze(1)


def striped(x: Tensor, points: Tensor) -> Tensor:
    """p Z (n,) at points (n, 3) of the surface that `points` are known of."""
    low, high = points[:, 0].min(), points[:, 0].max()
    return (STRENGTH * (2 * math.pi * STRIPES * (x[:, 0] - low) / (high - low)).sin()).exp()


def draw(path: Path, stages: Tensor, vertices: Tensor, faces: Tensor, densities: dict[str, Tensor]) -> None:
    """Stages (k, n, 3) of the walk above, the surface coloured by log densities (v,) below."""
    figure = Figure(figsize=(15, 8.4), layout="constrained")
    grid = figure.add_gridspec(2, len(stages), height_ratios=(1, 1.8))
    for i, stage in enumerate(stages):
        panel = figure.add_subplot(grid[0, i], projection="3d")
        panel.scatter(*stage.T.numpy(), s=6, linewidths=0, color="tab:blue", alpha=0.6)
        panel.set_title("noise" if i == 0 else "samples" if i == len(stages) - 1 else f"{100 * i // (len(stages) - 1)} % of the levels", fontsize=10)
        bare(panel, vertices)
    half, panels = len(stages) // 2, []
    low, high = (float(f(densities["density p"])) for f in (torch.min, torch.max))
    for i, (name, values) in enumerate(densities.items()):
        panels.append(figure.add_subplot(grid[1, i * half : (i + 1) * half], projection="3d"))
        shown = panels[-1].plot_trisurf(*vertices.T.numpy(), triangles=faces.numpy(), cmap="viridis", linewidth=0, antialiased=False, shade=False)
        shown.set_array(values.clamp_min(low)[faces].mean(1).numpy())
        shown.set_clim(low, high)
        panels[-1].set_title(name)
        bare(panels[-1], vertices)
    figure.colorbar(shown, ax=panels, label="log density (nats)", shrink=0.8)
    figure.savefig(path, dpi=110)


def bare(panel: object, vertices: Tensor) -> None:
    """The surface fills the panel, without axes, from in front."""
    limits = torch.stack([vertices.amin(0), vertices.amax(0)], 1)
    for axis, (low, high) in zip("xyz", limits.tolist(), strict=True):
        getattr(panel, f"set_{axis}lim")(low, high)
    panel.set_box_aspect((limits[:, 1] - limits[:, 0]).tolist(), zoom=1.1)
    panel.view_init(25, -75)
    panel.set_axis_off()


if __name__ == "__main__":
    raise SystemExit(main())
