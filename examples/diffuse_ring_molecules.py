"""New conformations of a ring molecule by diffusion within them: every bond keeps its length on the way.

Seven carbon atoms in a ring, as in cycloheptane, with 7 bond lengths and 7 bond angles. Three neighbours are held, which fixes place and turning in space;
the others have 12 coordinates and 11 equations, so the conformations are closed curves in R^12. The manifold is given. Conformations are drawn with density

    p(x) = exp(-E(x) / kT) / Z,     E = 2.5 kT (1 - cos(omega_1 - 65 degrees)),     omega_1 the first torsion angle,

exactly, by rejection from uniform ones, and a Riemannian diffusion learns p from them. Held-out ones are scored by the model and by p itself, and bond lengths
of new ones are checked. The picture shows torsion angles of data and new conformations, and some of the new rings.

    python examples/diffuse_ring_molecules.py --output rings.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from topogen.distributions import field_settings
from topogen.distributions.diffusion.fit import fit_diffusion
from topogen.distributions.fields.components import SampledManifold
from topogen.distributions.uniform.uniform import Uniform
from topogen.manifolds import ImplicitManifold
from topogen.training import Settings

ATOMS, HELD, BOND, ANGLE = 7, 3, 1.53, math.radians(115.0)
ACROSS_TWO = 2 * BOND * math.sin(ANGLE / 2)
STIFFNESS, PREFERRED = 2.5, math.radians(65.0)
POOL, STEPS = 20_000, 3000
# Smaller ones in short mode, to try it out.
POOL_IN_SHORT, STEPS_IN_SHORT = 6000, 250
HELD_OUT = 500


def main() -> int:
    """Draw, learn, score, sample, check, draw; returns 0 if bonds are kept and held-out conformations are likelier than if they were uniform."""
    options = parse()
    generator = torch.Generator().manual_seed(options.seed)
    manifold = ImplicitManifold(constraint, dim=1, ambient_dim=3 * (ATOMS - HELD))
    uniform = Uniform(manifold, points=rings(manifold, 400, generator), generator=generator)
    pool = uniform.sample((POOL_IN_SHORT if options.short else POOL,), generator)
    length, weights = uniform.volume.value, (-energy(pool)).exp()
    data = pool[weights > weights.max() * torch.rand(len(pool), generator=generator, dtype=torch.float64)]
    held, learn = data[: len(data) // 5][:HELD_OUT], data[len(data) // 5 :]
    ground = SampledManifold(manifold, pool, length)
    fitted = fit_diffusion(learn, manifold, ground=ground, settings=training(options.short), generator=generator, quiet=options.short)

    new = fitted.distribution.sample((len(learn),), generator)
    error = float((lengths(new, 1) / BOND - 1).abs().max())
    found, true = -float(fitted.distribution.log_prob(held).mean()), float(energy(held).mean()) + math.log(float(weights.mean()) * length)
    print(f"{len(learn)} conformations learned from, on {ground.count} closed curves, {length:.1f} Angstrom long together")
    print(f"held-out conformations: {found:.3f} nats; by p itself {true:.3f}, uniform {math.log(length):.3f}")
    draw(options.output, torsions(learn), torsions(new), new)
    print(f"picture in {options.output}")
    print(f"bond lengths of {len(new)} new conformations are kept to {error:.1e}")
    return 0 if error < 1e-6 and found < math.log(length) else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="New conformations of a ring molecule by diffusion within them.")
    parser.add_argument("--output", type=Path, default=Path("diffuse_ring_molecules.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few conformations and steps, to try it out")
    return parser.parse_args()


def training(short: bool) -> Settings:
    """How the field of the diffusion is trained; in short mode it is judged less often."""
    return field_settings(STEPS_IN_SHORT, judged=2) if short else field_settings(STEPS)


def held_atoms() -> Tensor:
    """The three neighbours (3, 3) that stay in place, with the bond angle at the second."""
    return BOND * torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [math.cos(ANGLE), math.sin(ANGLE), 0.0]], dtype=torch.float64)


def atoms_of(x: Tensor) -> Tensor:
    """All atoms (..., 7, 3) of conformations (..., 12)."""
    free = x.reshape(*x.shape[:-1], ATOMS - HELD, 3)
    return torch.cat([held_atoms().to(x).expand(*x.shape[:-1], HELD, 3), free], -2)


def lengths(x: Tensor, apart: int) -> Tensor:
    """Distances (..., 7) between atoms that are `apart` bonds apart."""
    atoms = atoms_of(x)
    return (atoms - atoms.roll(-apart, -2)).norm(dim=-1)


def constraint(x: Tensor) -> Tensor:
    """Squared bond lengths and squared distances of next neighbours less their values, (n, 11), without those of the held atoms."""
    bonds, angles = lengths(x, 1).square() - BOND**2, lengths(x, 2).square() - ACROSS_TWO**2
    return torch.cat([bonds[:, HELD - 1 :], angles[:, HELD - 2 :]], 1)


def torsions(x: Tensor) -> Tensor:
    """Torsion angles (..., 7) in radians, one about each bond."""
    atoms = atoms_of(x)
    bond = atoms.roll(-1, -2) - atoms
    first, second = torch.linalg.cross(bond, bond.roll(-1, -2)), torch.linalg.cross(bond.roll(-1, -2), bond.roll(-2, -2))
    sine = (torch.linalg.cross(first, second) * bond.roll(-1, -2)).sum(-1) / bond.roll(-1, -2).norm(dim=-1)
    return torch.atan2(sine, (first * second).sum(-1))


def energy(x: Tensor) -> Tensor:
    """E / kT (n,)."""
    return STIFFNESS * (1 - (torsions(x)[..., 0] - PREFERRED).cos())


def rings(manifold: ImplicitManifold, n: int, generator: torch.Generator) -> Tensor:
    """n conformations (n, 12): crumpled heptagons, moved so that three atoms are where they are held, and projected; those that do not close are left out."""
    angle = 2 * math.pi * torch.arange(ATOMS, dtype=torch.float64) / ATOMS
    heptagon = 1.75 * torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
    crumpled = heptagon + 0.5 * torch.randn(8 * n, ATOMS, 3, generator=generator, dtype=torch.float64)
    moved = (crumpled - crumpled[:, 1:2]) @ frames(crumpled).mT
    found = manifold.project(moved[:, HELD:].flatten(1))
    return found.points[found.converged][:n]


def frames(atoms: Tensor) -> Tensor:
    """Rotations (n, 3, 3) that take the first three atoms (n, 7, 3) into the plane, the first along the axis from the second."""
    along = torch.nn.functional.normalize(atoms[:, 0] - atoms[:, 1], dim=-1)
    beside = atoms[:, 2] - atoms[:, 1]
    beside = torch.nn.functional.normalize(beside - (beside * along).sum(-1, keepdim=True) * along, dim=-1)
    return torch.stack([along, beside, torch.linalg.cross(along, beside)], 1)


def draw(path: Path, known: Tensor, new: Tensor, conformations: Tensor) -> None:
    """Neighbouring torsions (n, 7) of data and of new conformations, and four of the latter (n, 12)."""
    figure = Figure(figsize=(15, 5.8), layout="constrained")
    panels = [figure.add_subplot(1, 3, i) for i in (1, 2)]
    for panel, (title, omega) in zip(panels, {"conformations": known, "new conformations": new}.items(), strict=True):
        degrees = torch.rad2deg(omega)
        panel.scatter(degrees[:, 0].numpy(), degrees[:, 1].numpy(), s=5, alpha=0.3, linewidths=0)
        ticks = range(-180, 181, 90)
        panel.set(xlabel="torsion 1 in degrees", xlim=(-180, 180), ylim=(-180, 180), xticks=ticks, yticks=ticks, aspect="equal", title=title)
    panels[0].set_ylabel("torsion 2 in degrees")
    right = figure.add_subplot(1, 3, 3, projection="3d")
    for ring in atoms_of(conformations[:4]):
        right.plot(*torch.cat([ring, ring[:1]]).T.numpy(), marker="o", markersize=5, linewidth=1.5)
    right.set(title="Four new rings", xlabel="Angstrom")
    right.locator_params(nbins=4)
    right.set_aspect("equal")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
