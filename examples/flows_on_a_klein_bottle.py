"""Model data on a Klein bottle by a mixture of injective flows over a few discs, and compare it with other densities on held-out points.

The cloud of data/ is thinned to a density that rises along one axis. A constraint is learned, its zero set covered by star-shaped discs, and a flow trained
inside each; the mixture is a density against area. Held-out points compare it with the uniform law and with bumps over many small charts.
The picture: discs as colours with one geodesic across them, the learned density, and samples.

    python examples/flows_on_a_klein_bottle.py --output flows.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import topogen
from topogen.model import compare_models
from topogen.training.trainer import Settings

DATA = Path(__file__).resolve().parents[1] / "data" / "klein_bottle.npy"


def main() -> int:
    """Thin, split, learn, compare, draw; returns 0 if the flows are better than the uniform law by more than two standard errors."""
    options = parse()
    learn, held = split(topogen.points.read(DATA), options.seed)
    surface = topogen.fit(learn, density="uniform", seed=options.seed, quiet=True)
    settings = Settings(steps=150) if options.short else None
    rivals = ("flows",) if options.short else ("flows", "charts")
    models = {name: topogen.fit(learn, surface.manifold, name, seed=options.seed, density_settings=settings, quiet=True) for name in rivals}
    found = compare_models({**models, "uniform": surface}, held)
    flows = models["flows"].distribution
    print(f"{flows.atlas.count} discs, weights {[round(float(w), 3) for w in flows.weights]}")
    print(found.to_text())
    draw(options.output, models["flows"], options.seed)
    print(f"picture in {options.output}")
    behind = dict(zip(found.names, found.behind, strict=True))["uniform"]
    return 0 if found.names[-1] == "uniform" and behind.value > 2 * behind.standard_error else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="A mixture of injective flows on a learned Klein bottle.")
    parser.add_argument("--output", type=Path, default=Path("flows_on_a_klein_bottle.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="150 steps of training, and no bumps beside")
    return parser.parse_args()


def split(cloud: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points kept with a probability that rises along the first coordinate from .1 to 1, four fifths to learn from and one to judge by."""
    generator = torch.Generator().manual_seed(seed)
    along = (cloud[:, 0] - cloud[:, 0].min()) / (cloud[:, 0].max() - cloud[:, 0].min())
    kept = cloud[torch.rand(len(cloud), generator=generator, dtype=torch.float64) < 0.1 + 0.9 * along]
    order = torch.randperm(len(kept), generator=generator)
    return kept[order[len(kept) // 5 :]], kept[order[: len(kept) // 5]]


def draw(path: Path, model: topogen.Model, seed: int) -> None:
    """Discs and a geodesic, density, samples, on three principal axes of R^4."""
    x = model.distribution.atlas.points[::4]
    centre, axes = x.mean(0), torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:3].T
    samples = model.sample(3000, torch.Generator().manual_seed(seed))
    ends = x[torch.cdist(x, x[:1]).argmax()].unsqueeze(0)
    path_nodes = model.manifold.geodesics(x).paths(x[:1], ends).nodes[0]
    figure = Figure(figsize=(15, 5), layout="constrained")
    panels = [figure.add_subplot(1, 3, i, projection="3d", computed_zorder=False) for i in (1, 2, 3)]
    styles = ({"c": model.distribution.atlas.encode(x).chart.numpy(), "cmap": "tab10"}, {"c": model.log_prob(x).numpy(), "cmap": "viridis"}, {"c": "tab:red"})
    titles = (f"{model.distribution.atlas.count} discs, one geodesic", "log density", "samples")
    for panel, cloud, style, title in zip(panels, (x, x, samples), styles, titles, strict=True):
        shown = (cloud - centre) @ axes
        panel.scatter(*shown.T.numpy(), s=5, linewidths=0, **style)
        panel.set_title(title)
        panel.set_box_aspect((shown.amax(0) - shown.amin(0)).tolist(), zoom=1.2)
        panel.set_axis_off()
    panels[0].plot(*((path_nodes - centre) @ axes).T.numpy(), color="black", linewidth=2.5, zorder=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
