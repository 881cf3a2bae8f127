"""Sample the conformations of a ring molecule whose bond lengths and bond angles are fixed.

Eight carbon atoms in a ring, as in cyclooctane: 8 bond lengths, 8 distances between next neighbours (the bond angles) and the centre at the origin are 19
equations for 24 coordinates. Nothing is learned: the constraint is given, and constrained Hamiltonian Monte Carlo samples exp(-E / kT) on its zero set,
with E a torsion energy of .5 kT (1 + cos 3 omega) per bond (a hot ring, so that its forms interchange) and a repulsion of atoms across the ring.
Whether they do interchange is read off the torsion angles: R-hat of the coordinates would not notice, because every chain tumbles in space.
The picture shows two neighbouring torsion angles, whose mirror image must be as frequent, and some of the rings.

    python examples/sample_a_ring_molecule.py --output ring.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from topogen.manifolds import ImplicitManifold
from topogen.sampling import sample
from topogen.sampling.diagnostics import rank_r_hat

ATOMS, BOND, ANGLE = 8, 1.53, math.radians(115.0)
ACROSS_TWO = 2 * BOND * math.sin(ANGLE / 2)


def main() -> int:
    """Sample, check, draw; returns 0 if the chains agree and every ring keeps its bonds."""
    options = parse()
    generator = torch.Generator().manual_seed(options.seed)
    manifold = ImplicitManifold(constraint, dim=3 * ATOMS - 2 * ATOMS - 3, ambient_dim=3 * ATOMS)
    start = rings(manifold, 40 if options.short else 150, generator)
    chains = sample(manifold, energy, start=start, n_steps=60 if options.short else 200, n_warm_up=60 if options.short else 150, generator=generator)

    omega = torsions(chains.points)
    error = float((lengths(chains.points, 1) / BOND - 1).abs().max())
    agreement = float(rank_r_hat(torch.cat([omega.cos(), omega.sin()], -1)).max())
    accepted = float(chains.acceptance.mean())
    print(f"{chains.points.shape[1]} chains of {chains.n_steps} steps, acceptance {accepted:.2f}, largest R-hat of the torsions {agreement:.3f}")
    print(f"bond lengths are kept to {100 * error:.1e} %; gauche torsions (30 to 90 degrees): {100 * gauche(omega):.0f} %")
    draw(options.output, omega, chains.points[-1])
    print(f"picture in {options.output}")
    return 0 if error < 1e-8 and (options.short or agreement < 1.1) else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Sample the conformations of a ring molecule.")
    parser.add_argument("--output", type=Path, default=Path("sample_a_ring_molecule.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few chains and steps, to try it out")
    return parser.parse_args()


def constraint(x: Tensor) -> Tensor:
    """Squared bond lengths and squared distances of next neighbours less their values, and the centre, (n, 19) of rings (n, 24)."""
    bonds, angles = lengths(x, 1).square() - BOND**2, lengths(x, 2).square() - ACROSS_TWO**2
    return torch.cat([bonds, angles, x.reshape(-1, ATOMS, 3).mean(1)], 1)


def lengths(x: Tensor, apart: int) -> Tensor:
    """Distances (..., 8) between atoms that are `apart` bonds apart."""
    atoms = x.reshape(*x.shape[:-1], ATOMS, 3)
    return (atoms - atoms.roll(-apart, -2)).norm(dim=-1)


def energy(x: Tensor) -> Tensor:
    """E / kT (n,): torsions and a soft repulsion below 2.8 Angstrom across the ring."""
    crowded = torch.cat([lengths(x, 3), lengths(x, 4)], -1)
    return 0.5 * (1 + (3 * torsions(x)).cos()).sum(-1) + 5 * (2.8 - crowded).clamp_min(0).square().sum(-1)


def torsions(x: Tensor) -> Tensor:
    """Torsion angles (..., 8) in radians, one about each bond."""
    atoms = x.reshape(*x.shape[:-1], ATOMS, 3)
    bond = atoms.roll(-1, -2) - atoms
    first, second = torch.linalg.cross(bond, bond.roll(-1, -2)), torch.linalg.cross(bond.roll(-1, -2), bond.roll(-2, -2))
    sine = (torch.linalg.cross(first, second) * bond.roll(-1, -2)).sum(-1) / bond.roll(-1, -2).norm(dim=-1)
    return torch.atan2(sine, (first * second).sum(-1))


def rings(manifold: ImplicitManifold, n: int, generator: torch.Generator) -> Tensor:
    """n closed rings (n, 24): crumpled octagons, projected; those that do not close are left out."""
    angle = 2 * math.pi * torch.arange(ATOMS, dtype=torch.float64) / ATOMS
    octagon = 1.9 * torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
    crumpled = octagon + 0.7 * torch.randn(4 * n, ATOMS, 3, generator=generator, dtype=torch.float64)
    found = manifold.project(crumpled.reshape(4 * n, -1))
    return found.points[found.converged][:n]


def gauche(omega: Tensor) -> float:
    """Share of the torsion angles between 30 and 90 degrees, of either sign."""
    size = omega.abs()
    return float(((size > math.pi / 6) & (size < math.pi / 2)).double().mean())


def draw(path: Path, omega: Tensor, last: Tensor) -> None:
    """Two neighbouring torsions of all samples, and five of the rings (n, 24)."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    left = figure.add_subplot(1, 2, 1)
    degrees = torch.rad2deg(omega).reshape(-1, ATOMS)
    shown = left.hist2d(degrees[:, 0].numpy(), degrees[:, 1].numpy(), bins=90, range=[[-180, 180]] * 2, cmap="magma_r", cmin=1)
    left.set(xlabel="torsion 1 in degrees", ylabel="torsion 2 in degrees", title="Neighbouring torsion angles", aspect="equal")
    figure.colorbar(shown[3], ax=left, label="samples", shrink=0.85)
    right = figure.add_subplot(1, 2, 2, projection="3d")
    for ring in last[:5].reshape(-1, ATOMS, 3):
        right.plot(*torch.cat([ring, ring[:1]]).T.numpy(), marker="o", markersize=5, linewidth=1.5)
    right.set(title="Five conformations", xlabel="Angstrom")
    right.set_aspect("equal")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
