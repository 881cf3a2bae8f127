"""How proteins bend: the law of two torsion angles, by flow matching on a flat torus.

The angles (phi, psi) of every glycine in the Top500 proteins are points (cos phi, sin phi, cos psi, sin psi) of the flat torus in R^4, where -180 and 180
degrees are one place. The manifold is given; a field on it is learned that carries the uniform distribution to the data. A tenth of the residues is held
out: their mean negative log likelihood per residue, against d phi d psi in radians, is compared with log 4 pi^2 = 3.676 nats, that of uniform angles.
Without the data the angles are drawn from a mixture of six wrapped normal distributions, so that the example runs everywhere.
The picture is a Ramachandran plot of data and samples, with the density beside them.

    TOPOGEN_DATA=folder python examples/flow_of_torsion_angles.py --output angles.png         with folder/protein_torsion/top500_phi_psi.csv
"""

from __future__ import annotations

import argparse
import csv
import math
import os
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import topogen
from topogen.distributions import field_settings
from topogen.manifolds.shapes import FlatTorus
from topogen.points.coordinates import from_angles
from topogen.training import Settings

UNIFORM = math.log(4 * math.pi**2)
RESIDUE = "Glycine"
# Fewer in short mode, to try it out.
STEPS, STEPS_IN_SHORT, HELD_IN_SHORT = 6000, 300, 300
# Middles in degrees, shares, and the one spread of the mixture.
MIDDLES, SHARES, SPREAD = ((-65, -40), (60, 40), (85, 5), (-75, 165), (75, -165), (180, 180)), (0.25, 0.2, 0.2, 0.15, 0.1, 0.1), 15.0


def main() -> int:
    """Learn the field, score, sample, draw; returns 0 if held-out residues are likelier than if their angles were uniform."""
    options = parse()
    generator = torch.Generator().manual_seed(options.seed)
    angles = mixture(generator) if options.data is None else residues(options.data)
    points = from_angles(angles, "radians")[torch.randperm(len(angles), generator=generator)]
    held, learn = points[: len(points) // 10], points[len(points) // 10 :]
    held = held[:HELD_IN_SHORT] if options.short else held
    model = topogen.fit(learn, FlatTorus(), "flow", seed=options.seed, density_settings=training(options.short), quiet=options.short)

    samples = model.sample(len(learn) // (3 if options.short else 1), generator)
    likelihood = model.log_prob(held)
    found, error = -float(likelihood.mean()), float(likelihood.std()) / math.sqrt(len(held))
    print(f"{len(learn)} residues learned from; {model.notes[-1]}")
    edges = torch.linspace(-math.pi, math.pi, (30 if options.short else 90) + 1, dtype=torch.float64)
    draw(options.output, learn, samples, edges, density(model, edges))
    print(f"picture in {options.output}")
    print(f"held-out residues: {found:.3f} +- {error:.3f} nats, uniform angles: {UNIFORM:.3f} nats")
    return 0 if found < UNIFORM else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="The law of torsion angles, by flow matching on a flat torus.")
    parser.add_argument("--data", type=Path, default=table(), help="a table with columns phi_rad, psi_rad and class (default: the one in TOPOGEN_DATA)")
    parser.add_argument("--output", type=Path, default=Path("flow_of_torsion_angles.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few steps, to try it out")
    return parser.parse_args()


def table() -> Path | None:
    """The table that TOPOGEN_DATA holds, if it does."""
    file = Path(os.environ.get("TOPOGEN_DATA", "")) / "protein_torsion" / "top500_phi_psi.csv"
    return file if file.is_file() else None


def training(short: bool) -> Settings:
    """How the field of the flow is trained; in short mode it is judged less often."""
    return field_settings(STEPS_IN_SHORT, judged=3) if short else field_settings(STEPS)


def residues(file: Path) -> Tensor:
    """Angles (n, 2) in radians of the rows of the one class."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [(float(row["phi_rad"]), float(row["psi_rad"])) for row in csv.DictReader(lines) if row["class"] == RESIDUE]
    return torch.tensor(rows, dtype=torch.float64)


def mixture(generator: torch.Generator, n: int = 6000) -> Tensor:
    """Angles (n, 2) in radians, drawn; not wrapped, which cosine and sine do."""
    which = torch.multinomial(torch.tensor(SHARES, dtype=torch.float64), n, replacement=True, generator=generator)
    middles = torch.tensor(MIDDLES, dtype=torch.float64)[which]
    return torch.deg2rad(middles + SPREAD * torch.randn(n, 2, generator=generator, dtype=torch.float64))


def density(model: topogen.Model, edges: Tensor) -> Tensor:
    """Density per square radian (k, k) in the middles of cells between edges (k + 1,) of both angles, phi along the second axis."""
    psi, phi = torch.meshgrid((edges[1:] + edges[:-1]) / 2, (edges[1:] + edges[:-1]) / 2, indexing="ij")
    return model.log_prob(from_angles(torch.stack([phi, psi], -1).reshape(-1, 2), "radians")).exp().reshape(phi.shape)


def draw(path: Path, data: Tensor, samples: Tensor, edges: Tensor, values: Tensor) -> None:
    """Data and samples (n, 4) as points, and the density on the cells, on the same axes."""
    figure = Figure(figsize=(15, 5), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for panel, (title, cloud) in zip(panels, {"residues": data, "samples of the flow": samples}.items(), strict=False):
        phi, psi = (torch.rad2deg(torch.atan2(cloud[:, i + 1], cloud[:, i])) for i in (0, 2))
        panel.scatter(phi.numpy(), psi.numpy(), s=3, alpha=0.4, linewidths=0)
        panel.set_title(title)
    degrees = torch.rad2deg(edges).numpy()
    shown = panels[2].pcolormesh(degrees, degrees, values.log10().clamp_min(float(values.log10().max()) - 4).numpy(), cmap="magma", rasterized=True)
    panels[2].set_title("density")
    figure.colorbar(shown, ax=panels[2], label="log10 of the density per square radian", extend="min")
    for panel in panels:
        ticks = range(-180, 181, 90)
        panel.set(xlabel="phi in degrees", xlim=(-180, 180), ylim=(-180, 180), xticks=ticks, yticks=ticks, aspect="equal")
    panels[0].set_ylabel("psi in degrees")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
