"""Distances along a surface: geodesics from one point of a bunny to many others.

With --mesh FILE (for example the Stanford bunny) the vertices are taken as a cloud, an implicit surface is learned from them, and geodesics are searched
on it. Without a file the surface is a torus in closed form, so that the example runs everywhere. What every distance must fulfil is checked on
what was found: no geodesic is shorter than its chord, the way back is as long, the triangle inequality holds.
The picture shows the surface coloured by distance along it, and some of the paths.

    python examples/geodesics_on_a_bunny.py --mesh bunny.obj --output bunny.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import topogen
from topogen.manifolds import Manifold
from topogen.manifolds.shapes import Torus
from topogen.topology import farthest_points
from topogen.training.trainer import Settings

STEPS_IN_SHORT = 300
SHOWN = 8
# Lengths are extrapolated from polygons of 17 nodes; on coarse ones of a learned surface that leaves an error of this size.
ERROR = 2e-3


def main() -> int:
    """Learn, search, check, draw; returns 0 if lengths, chords, ways back and triangles are as they must be."""
    options = parse()
    manifold, points = surface(options)
    count = 40 if options.short else 120
    targets = farthest_points(points, count).points
    source = targets[0]
    geodesics = manifold.geodesics(points, n_nodes=17, starts=2)
    paths = geodesics.paths(source, targets[1:])
    length, chord = paths.lengths, (targets[1:] - source).norm(dim=-1)

    some = min(20, (count - 1) // 2)
    back = geodesics.dist(targets[1 : some + 1], source)
    between = geodesics.dist(targets[1 : some + 1], targets[some + 1 : 2 * some + 1])
    shortcut = float((chord / length).max())
    asymmetry = float((back / length[:some] - 1).abs().max())
    triangle = float((length[some : 2 * some] / (length[:some] + between)).max())
    longest = int(length.argmax())
    print(f"{len(length)} geodesics, {int(paths.converged.sum())} converged; the longest is {length[longest]:.3f}, its chord {chord[longest]:.3f}")
    print(f"chord over length at most {shortcut:.4f}; the way back differs by {100 * asymmetry:.1e} %; one side over the two others at most {triangle:.4f}")
    draw(options.output, points, distances(points, targets, torch.cat([length.new_zeros(1), length])), paths.nodes, length)
    print(f"picture in {options.output}")
    return 0 if max(shortcut, triangle) < 1 + ERROR and asymmetry < ERROR and bool(torch.isfinite(length).all()) else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Geodesics on a learned surface.")
    parser.add_argument("--mesh", type=Path, help="a mesh (obj, ply, off, stl) whose vertices are the data; without it a torus in closed form")
    parser.add_argument("--output", type=Path, default=Path("geodesics_on_a_bunny.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few steps and paths, to try it out")
    return parser.parse_args()


def surface(options: argparse.Namespace) -> tuple[Manifold, Tensor]:
    """The surface with known points (n, 3) of it."""
    if options.mesh is None:
        torus = Torus()
        return torus, torus.sample(1500, generator=torch.Generator().manual_seed(options.seed))
    cloud = topogen.points.read(options.mesh)
    # Meshes mostly have their second axis pointing up, pictures the third.
    cloud = torch.stack([cloud[:, 0], -cloud[:, 2], cloud[:, 1]], 1)
    cloud = (cloud - cloud.mean(0)) / (cloud.amax(0) - cloud.amin(0)).max()
    # A bunny is closed although its points are uneven.
    model = topogen.fit(cloud, dim=2, closed=True, seed=options.seed, settings=Settings(steps=STEPS_IN_SHORT) if options.short else None)
    return model.manifold, model.anchors


def distances(points: Tensor, known: Tensor, values: Tensor, neighbours: int = 3) -> Tensor:
    """Values (n,) at points by those (m,) at known points: distance-weighted means of the nearest three, which suffices for a colour."""
    gap, index = torch.cdist(points, known).topk(min(neighbours, len(known)), largest=False)
    weight = 1 / gap.clamp_min(1e-9)
    return (weight * values[index]).sum(1) / weight.sum(1)


def draw(path: Path, points: Tensor, distance: Tensor, nodes: Tensor, length: Tensor) -> None:
    """The surface (n, 3) coloured by distance, the longest geodesic and some others (k, m, 3), from two sides."""
    # Farthest points come in an order in which the first few are spread over the whole surface.
    chosen = torch.cat([nodes[:SHOWN], nodes[length.argmax()].unsqueeze(0)])
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    panels = [figure.add_subplot(1, 2, i, projection="3d", computed_zorder=False) for i in (1, 2)]
    for panel, turn in zip(panels, (-75, 105), strict=True):
        # matplotlib does not hide what lies behind points, so the far side of the surface is drawn fainter and below the paths.
        shown = panel.scatter(*points.T.numpy(), c=distance.numpy(), s=14, linewidths=0, cmap="viridis", alpha=0.7, zorder=1)
        for curve in chosen:
            panel.plot(*curve.T.numpy(), color="tab:red", linewidth=1.8, zorder=2)
        panel.scatter(*nodes[:1, 0].T.numpy(), s=70, marker="*", color="black", zorder=3, label="start")
        panel.set_aspect("equal")
        panel.view_init(35, turn)
        panel.set_axis_off()
    panels[0].legend(loc="upper left")
    figure.colorbar(shown, ax=panels, shrink=0.7, label="distance along the surface")
    figure.suptitle("Geodesics from one point")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
