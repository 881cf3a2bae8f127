"""Interpolate between forms of a ring molecule along the manifold of its conformations: no bond is stretched on the way.

Eight carbon atoms in a ring, as in cyclooctane, are 24 coordinates; 8 bond lengths, 8 distances of next neighbours (the bond angles), the centre and three
equations that fix the turning in space leave a surface. Its geodesics bend the ring from one form to another by torsions alone, whereas straight lines in
R^24 squeeze the bonds. With --data FILE the forms are taken from the published conformations (pointsCycloOctane.mat), else they are found by projection.
Pairs between which the search finds no path are counted and left out.
The picture shows the worst bond along both ways, and the ring on its way.

    python examples/interpolate_ring_molecules.py --output ring.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from topogen.manifolds import ImplicitManifold
from topogen.topology import farthest_points

ATOMS, ANGLE = 8, math.radians(115.0)
BOND = 1.52
ACROSS_TWO = 2 * BOND * math.sin(ANGLE / 2)
FRAMES = 41


def main() -> int:
    """Interpolate, check, draw; returns 0 if geodesics keep the bonds a thousand times better than straight lines."""
    options = parse()
    generator = torch.Generator().manual_seed(options.seed)
    rings = conformations(options.data, 300 if options.short else 1500, generator)
    reference = rings[0].reshape(ATOMS, 3)
    manifold = ImplicitManifold(lambda x: constraint(x, reference), dim=2, ambient_dim=3 * ATOMS)
    found = manifold.project(rings)
    known = found.points[found.converged]
    ends = farthest_points(known, 12).points
    first, last = ends[:6], ends[6:]

    share = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
    geodesics = manifold.geodesics(known, n_nodes=17, starts=2)
    paths = geodesics.paths(first, last)
    joined = torch.isfinite(paths.lengths)
    curved = geodesics.interpolate(first[joined], last[joined], share)
    straight = first[joined].unsqueeze(1) + share[:, None] * (last - first)[joined].unsqueeze(1)
    bent, squeezed = violation(curved), violation(straight)
    print(f"{len(known)} conformations; {int(joined.sum())} of {len(first)} pairs are joined, geodesics of {paths.lengths[joined].min():.2f} Angstrom and more")
    print(f"bond lengths change by at most {bent.max():.1e} % along geodesics, by up to {squeezed.max():.1f} % along straight lines")
    worst = int(squeezed.amax(1).argmax())
    draw(options.output, share, bent[worst], squeezed[worst], curved[worst], straight[worst])
    print(f"picture in {options.output}")
    return 0 if len(bent) and float(bent.max()) < 1e-3 * float(squeezed.max()) and float(squeezed.max()) > 1 else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Geodesic interpolation of ring molecules.")
    parser.add_argument("--data", type=Path, help="conformations (n, 24) in a mat, npy or csv file; without it they are found by projection")
    parser.add_argument("--output", type=Path, default=Path("interpolate_ring_molecules.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few conformations, to try it out")
    return parser.parse_args()


def conformations(path: Path | None, n: int, generator: torch.Generator) -> Tensor:
    """n rings (n, 24), all turned the same way in space as well as they can be: read from a file, or octagons crumpled and projected."""
    if path is not None:
        rings = read(path)
        rings = rings[torch.randperm(len(rings), generator=generator)[:n]]
    else:
        angle = 2 * math.pi * torch.arange(ATOMS, dtype=torch.float64) / ATOMS
        octagon = 1.9 * torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
        crumpled = octagon + 0.7 * torch.randn(4 * n, ATOMS, 3, generator=generator, dtype=torch.float64)
        free = ImplicitManifold(lambda x: constraint(x, None), dim=5, ambient_dim=3 * ATOMS)
        found = free.project(crumpled.reshape(4 * n, -1))
        rings = found.points[found.converged][:n]
    return turned(rings, rings[0])


def read(path: Path) -> Tensor:
    """The conformations (n, 24) of a file."""
    if path.suffix != ".mat":
        import topogen

        return topogen.points.read(path)
    from scipy.io import loadmat

    array = torch.tensor(loadmat(path)["pointsCycloOctane"], dtype=torch.float64)
    return array if array.shape[1] == 3 * ATOMS else array.T.contiguous()


def turned(rings: Tensor, reference: Tensor) -> Tensor:
    """Rings (n, 24) centred and turned onto the reference by Kabsch's rotation, at which the antisymmetric part of the correlation vanishes."""
    atoms, fixed = (x.reshape(-1, ATOMS, 3) - x.reshape(-1, ATOMS, 3).mean(1, keepdim=True) for x in (rings, reference))
    u, _, v = torch.linalg.svd(atoms.mT @ fixed)
    sign = torch.ones(len(rings), 3, dtype=rings.dtype)
    sign[:, 2] = torch.linalg.det(u @ v).sign()
    return (atoms @ (u * sign.unsqueeze(1)) @ v).reshape(len(rings), -1)


def constraint(x: Tensor, reference: Tensor | None) -> Tensor:
    """Squared bond lengths and distances of next neighbours less their values, the centre, and how far the ring is turned against the reference (n, 22)."""
    atoms = x.reshape(-1, ATOMS, 3)
    parts = [lengths(x, 1).square() - BOND**2, lengths(x, 2).square() - ACROSS_TWO**2, atoms.mean(1)]
    if reference is not None:
        parts.append(torch.linalg.cross(reference.expand_as(atoms), atoms).mean(1))
    return torch.cat(parts, 1)


def lengths(x: Tensor, apart: int) -> Tensor:
    """Distances (..., 8) between atoms that are `apart` bonds apart."""
    atoms = x.reshape(*x.shape[:-1], ATOMS, 3)
    return (atoms - atoms.roll(-apart, -2)).norm(dim=-1)


def violation(path: Tensor) -> Tensor:
    """Largest relative error of a bond length in percent (...) of rings (..., 24)."""
    return 100 * (lengths(path, 1) / BOND - 1).abs().amax(-1)


def draw(path: Path, share: Tensor, bent: Tensor, squeezed: Tensor, curved: Tensor, straight: Tensor) -> None:
    """The worst bond along both ways, and five frames of each (k, 24)."""
    figure = Figure(figsize=(14, 5.5), layout="constrained")
    grid = figure.add_gridspec(2, 7)
    left = figure.add_subplot(grid[:, :2])
    left.semilogy(share.numpy(), squeezed.clamp_min(1e-15).numpy(), color="tab:orange", label="straight line")
    left.semilogy(share.numpy(), bent.clamp_min(1e-15).numpy(), color="tab:blue", label="geodesic")
    left.set(xlabel="share of the way", ylabel="worst bond, error in %", title="Bond lengths on the way")
    left.legend()
    for row, (frames, colour, name) in enumerate(((curved, "tab:blue", "geodesic"), (straight, "tab:orange", "straight"))):
        for column in range(5):
            place = round(column * (len(frames) - 1) / 4)
            ring = frames[place].reshape(ATOMS, 3)
            panel = figure.add_subplot(grid[row, 2 + column], projection="3d")
            panel.plot(*torch.cat([ring, ring[:1]]).T.numpy(), marker="o", markersize=5, linewidth=2, color=colour)
            panel.set(xlim=(-2.1, 2.1), ylim=(-2.1, 2.1), zlim=(-2.1, 2.1), title=f"{name}, {share[place]:.2f}")
            panel.set_box_aspect((1, 1, 1), zoom=1.25)
            panel.set_axis_off()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
