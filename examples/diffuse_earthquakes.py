"""Where the earth quakes: a density on a sphere that nobody told about, by diffusion within it.

Significant earthquakes, given by latitude and longitude, are points in R^3. The surface they lie on is learned from them (it has gaps, where it never quakes,
but no boundary: closed=True), and Riemannian diffusion on it learns how often it quakes where. A tenth of the events is held out: their mean negative
log likelihood is compared with that of the uniform distribution on the sphere, log 4 pi = 2.531 nats.
Without the data the events are drawn from a mixture of five clusters and an arc on the sphere, so that the example runs everywhere.
The picture shows events and samples on a map of equal areas, and the density beside it.

    TOPOGEN_DATA=folder python examples/diffuse_earthquakes.py --output quakes.png         with folder/earth/quakes_all.csv
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
from topogen.training import Settings

UNIFORM = math.log(4 * math.pi)
# Smaller ones in short mode, to try it out.
EVENTS_IN_SHORT, STEPS, STEPS_IN_SHORT = 1500, 8000, 150
CLUSTERS, SPREAD = 5, 0.15


def main() -> int:
    """Learn the sphere and the density, score, sample, draw; returns 0 if held-out events are likelier than on the uniform sphere."""
    options = parse()
    generator = torch.Generator().manual_seed(options.seed)
    events = quakes(options.data, generator)
    events = events[torch.randperm(len(events), generator=generator)]
    held, learn = events[: len(events) // 10], events[len(events) // 10 :]
    if options.short:
        held, learn = held[: EVENTS_IN_SHORT // 4], learn[:EVENTS_IN_SHORT]
    model = topogen.fit(
        learn, density="diffusion", dim=2, closed=True, seed=options.seed, settings=Settings(steps=300) if options.short else None,
        density_settings=training(options.short), quiet=options.short,
    )  # fmt: skip

    samples = model.sample(len(learn), generator)
    off = float((samples.norm(dim=1) - 1).abs().mean())
    likelihood = model.log_prob(held)
    found, error = -float(likelihood.mean()), float(likelihood.std()) / math.sqrt(len(held))
    print(f"{len(learn)} events learned from; samples of the learned surface are {off:.1e} radii off the unit sphere on average")
    draw(options.output, learn, samples, *on_map(model, 20 if options.short else 120))
    print(f"picture in {options.output}")
    print(f"held-out events: {found:.3f} +- {error:.3f} nats, uniform on the sphere: {UNIFORM:.3f} nats")
    return 0 if found < UNIFORM else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="A density of earthquakes on a sphere that is learned from them.")
    parser.add_argument("--data", type=Path, default=folder(), help="a table with latitude and longitude in degrees (default: the one in TOPOGEN_DATA)")
    parser.add_argument("--output", type=Path, default=Path("diffuse_earthquakes.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few events and steps, to try it out")
    return parser.parse_args()


def folder() -> Path | None:
    """The table that TOPOGEN_DATA holds, if it does."""
    file = Path(os.environ.get("TOPOGEN_DATA", "")) / "earth" / "quakes_all.csv"
    return file if file.is_file() else None


def training(short: bool) -> Settings:
    """How the field of the diffusion is trained; in short mode it is judged less often."""
    return field_settings(STEPS_IN_SHORT, judged=3) if short else field_settings(STEPS)


def quakes(file: Path | None, generator: torch.Generator) -> Tensor:
    """Events (n, 3) on the unit sphere, from the file or drawn."""
    if file is not None:
        return topogen.points.read(file, latlon=True)
    middles = torch.randn(CLUSTERS, 3, generator=generator, dtype=torch.float64)
    clustered = middles.div(middles.norm(dim=1, keepdim=True))[torch.randint(CLUSTERS, (2500,), generator=generator)]
    angle = math.pi * torch.rand(2500, generator=generator, dtype=torch.float64)
    arc = torch.stack([angle.cos(), angle.sin(), 0.2 * (3 * angle).sin()], 1)
    spread = torch.cat([clustered, arc]) + SPREAD * torch.randn(5000, 3, generator=generator, dtype=torch.float64)
    return spread / spread.norm(dim=1, keepdim=True)


def on_map(model: topogen.Model, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Edges of latitude (rows + 1,) and longitude (2 rows + 1,) in radians, and the density (rows, 2 rows) in the cells between."""
    latitude = torch.linspace(-math.pi / 2, math.pi / 2, rows + 1, dtype=torch.float64)
    longitude = torch.linspace(-math.pi, math.pi, 2 * rows + 1, dtype=torch.float64)
    phi, lam = torch.meshgrid((latitude[1:] + latitude[:-1]) / 2, (longitude[1:] + longitude[:-1]) / 2, indexing="ij")
    places = torch.stack([phi.cos() * lam.cos(), phi.cos() * lam.sin(), phi.sin()], -1)
    return latitude, longitude, model.log_prob(places.reshape(-1, 3)).exp().reshape(phi.shape)


def draw(path: Path, events: Tensor, samples: Tensor, latitude: Tensor, longitude: Tensor, density: Tensor) -> None:
    """Events and samples (n, 3) above each other on the left, the density as colour on the right, on maps of equal areas."""
    figure = Figure(figsize=(14, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    for row, (title, cloud) in enumerate({"events": events, "samples of the diffusion": samples}.items()):
        panel = figure.add_subplot(grid[row, 0], projection="mollweide")
        cloud = cloud / cloud.norm(dim=1, keepdim=True)
        panel.scatter(torch.atan2(cloud[:, 1], cloud[:, 0]).numpy(), cloud[:, 2].asin().numpy(), s=3, alpha=0.5, linewidths=0, color="tab:red")
        panel.set_title(title)
        bare(panel)
    panel = figure.add_subplot(grid[:, 1:], projection="mollweide")
    # Logarithmic: the densest places are a thousand times denser than the quiet ones, which are all one colour below.
    top = float(density.log10().max())
    shown = panel.pcolormesh(longitude.numpy(), latitude.numpy(), density.log10().clamp_min(top - 4).numpy(), cmap="magma", rasterized=True)
    panel.set_title("density learned on the learned surface")
    bare(panel)
    figure.colorbar(shown, ax=panel, label="log10 of the density per steradian", shrink=0.7, extend="min")
    figure.savefig(path, dpi=110)


def bare(panel: object) -> None:
    """Without numbers, which would lie on the map, and with thin lines every 30 degrees."""
    panel.set_xticklabels([])
    panel.set_yticklabels([])
    panel.grid(linewidth=0.4, alpha=0.5)


if __name__ == "__main__":
    raise SystemExit(main())
