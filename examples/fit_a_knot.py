"""Learn a closed curve from noisy points, sample it, and verify what it is.

The points lie near a trefoil knot in R^3. As a space a knot is a circle (knotting is how it lies in R^3), so the learned curve has to have the homology
of a circle. The picture shows the points and the learned curve.

    python examples/fit_a_knot.py --output knot.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import topogen
from topogen.training.trainer import Settings

DATA = Path(__file__).resolve().parents[1] / "data" / "trefoil_knot_noisy.csv"


def main() -> int:
    """Read, inspect, fit, sample, verify, draw; returns the exit code of the verdict."""
    options = parse()
    cloud = topogen.points.read(DATA)
    inspection = topogen.inspect(cloud, seed=options.seed)
    print(inspection.to_text())

    model = topogen.fit(cloud, seed=options.seed, inspection=inspection, settings=Settings(steps=2000) if options.short else None)
    curve = model.sample(1000 if options.short else 3000, generator=torch.Generator().manual_seed(options.seed))
    distance = (cloud - model.project(cloud).points).norm(dim=-1).mean()
    print(f"the data lie {distance:.4f} from the learned curve on average; noise estimated at {inspection.noise:.4f} per normal coordinate")

    result = topogen.verify(model, expect="circle", n_samples=3000 if options.short else None, seed=options.seed)
    print(f"homology of a circle: {result.verdict}, {result.summary}")
    draw(options.output, cloud, curve, f"A learned trefoil knot: homology of a circle {result.verdict}")
    print(f"picture in {options.output}")
    return result.exit_code


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Learn a knot from noisy points and verify that it is a circle.")
    parser.add_argument("--output", type=Path, default=Path("fit_a_knot.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few steps and few samples, to try it out")
    return parser.parse_args()


def draw(path: Path, cloud: torch.Tensor, curve: torch.Tensor, title: str) -> None:
    """Draw the data (n, 3) and the samples of the learned curve (m, 3), from the side and from above."""
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    for number, (elevation, azimuth) in enumerate([(30, -60), (90, -90)], start=1):
        panel = figure.add_subplot(1, 2, number, projection="3d", computed_zorder=False)
        panel.scatter(*cloud.T.numpy(), s=7, alpha=0.5, linewidths=0, depthshade=False, color="gray", label=f"data ({len(cloud)} noisy points)")
        panel.scatter(*curve.T.numpy(), s=4, linewidths=0, depthshade=False, color="tab:red", label=f"learned curve ({len(curve)} samples)")
        panel.view_init(elevation, azimuth)
        panel.set(xlabel="x1", ylabel="x2", zlabel="x3" if elevation < 90 else "")
        panel.locator_params(nbins=5)
        panel.set_box_aspect((cloud.amax(0) - cloud.amin(0)).tolist(), zoom=0.9)
    panel.set_zticks([])
    figure.axes[0].legend(loc="upper left", markerscale=2)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
