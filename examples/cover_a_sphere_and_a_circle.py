"""Cover a planet and its ring: a sphere and a circle around it, a cloud whose pieces have different dimensions.

Nothing is trained. `topogen.inspect` says that the cloud mixes dimensions one and two; the neighbourhoods of the points tell which are which. Each piece gets a
good cover by tangent-plane charts, whose own sheets are polynomials fitted to the points: as many charts as the accuracy and the nerve ask for.
Area and length are read off the charts by a partition of unity and must be 4 pi and 2 pi r.
The picture shows the charts as coloured patches.

    python examples/cover_a_sphere_and_a_circle.py --output planet.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import topogen
from topogen.distributions import Uniform
from topogen.geometry.clouds.neighbours import local_pca, nearest
from topogen.learning.atlas.fit import objection_to
from topogen.learning.atlas.good_cover import good_cover
from topogen.manifolds import Atlas
from topogen.manifolds.shapes import Sphere

RADIUS = 1.6
# Root mean square distance of the points from the charts that hold them; a sphere of radius one loses some permille of its area at this accuracy.
ACCURACY = 0.001
ANGLES = (25, -60)
VIEW = torch.tensor([0.453, -0.785, 0.423], dtype=torch.float64)
TRUTH = {2: ("sphere", 4 * math.pi), 1: ("circle", 2 * math.pi * RADIUS)}


def main() -> int:
    """Split, cover, measure, draw; returns 0 if both measures are right within 2 %."""
    options = parse()
    generator = torch.Generator().manual_seed(options.seed)
    cloud = planet(2500 if options.short else 8000, 800 if options.short else 1500, generator)
    mixed = topogen.inspect(cloud, seed=options.seed).dimension.mixed
    print(f"{len(cloud)} points; dimensions found in the cloud: {mixed}")

    dims = local_dimensions(cloud)
    atlases, worst = {}, 0.0
    for dim, (name, truth) in TRUTH.items():
        cover = good_cover(cloud[dims == dim], dim, accuracy=ACCURACY, accept=objection_to)
        volume = Uniform(cover.atlas, generator=generator).volume
        error = abs(volume.value / truth - 1)
        found = f"{volume.value:.3f} +- {volume.standard_error:.3f} of {truth:.3f} ({100 * error:.2f} % off)"
        print(f"{name}: {int((dims == dim).sum())} points, {cover.atlas.count} charts, measure {found}")
        atlases[dim], worst = cover.atlas, max(worst, error)
    draw(options.output, cloud, dims, atlases)
    print(f"picture in {options.output}")
    return 0 if set(mixed) == {1, 2} and worst < 0.02 else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Cover a sphere and a circle around it by charts.")
    parser.add_argument("--output", type=Path, default=Path("cover_a_sphere_and_a_circle.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few points, to try it out")
    return parser.parse_args()


def planet(n: int, m: int, generator: torch.Generator) -> Tensor:
    """n points of the unit sphere and m of a tilted circle around it, (n + m, 3), in random order."""
    angle = 2 * math.pi * torch.rand(m, generator=generator, dtype=torch.float64)
    ring = RADIUS * torch.stack([angle.cos(), 0.9 * angle.sin(), math.sqrt(1 - 0.9**2) * angle.sin()], -1)
    cloud = torch.cat([Sphere().sample(n, generator=generator), ring])
    return cloud[torch.randperm(len(cloud), generator=generator)]


def local_dimensions(cloud: Tensor, neighbours: int = 16) -> Tensor:
    """1 where the neighbours of a point (n, D) lie along a line, 2 where they fill a disc."""
    values = local_pca(cloud, nearest(cloud, neighbours)[1]).values
    return torch.where(values[:, 1] > 0.02 * values[:, 0], 2, 1)


def draw(path: Path, cloud: Tensor, dims: Tensor, atlases: dict[int, Atlas]) -> None:
    """The local dimension of every point (n, 3), and beside it points drawn from the charts, coloured by chart."""
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    left, right = (figure.add_subplot(1, 2, i, projection="3d") for i in (1, 2))
    for dim, atlas in atlases.items():
        piece = cloud[dims == dim]
        left.scatter(*piece.T.numpy(), s=4, linewidths=0, color="tab:blue" if dim == 2 else "tab:orange", label=f"dimension {dim}")
        patches = Uniform(atlas).sample((30_000 if dim == 2 else 3000,), generator=torch.Generator().manual_seed(0))
        # Only the side of the sphere that faces the viewer, or its back would shine through.
        patches = patches if dim == 1 else patches[patches @ VIEW > 0.1]
        right.scatter(*patches.T.numpy(), s=6, linewidths=0, c=(7 * atlas.encode(patches).chart % 20).numpy(), cmap="tab20", vmin=0, vmax=19)
    left.set_title("Local dimension")
    left.legend(loc="upper left")
    right.set_title(f"{atlases[2].count} charts of the sphere, {atlases[1].count} of the circle")
    for panel in (left, right):
        panel.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), zlim=(-1.4, 1.4))
        panel.set_box_aspect((1, 1, 1), zoom=1.4)
        panel.set_axis_off()
        panel.view_init(*ANGLES)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
