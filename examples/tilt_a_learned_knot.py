"""Tilt a learned manifold: a Gaussian around a point, restricted to a trefoil knot that was learned from noisy points.

The knot is learned from a cloud. The density exp(-|x - a|^2 / (2 s^2)) against its length is sampled in two ways that know nothing of each other: by
constrained Langevin chains, and by weighting uniform samples of the knot. Their means must agree within the statistical error.
The picture shows the samples over the cloud.

    python examples/tilt_a_learned_knot.py --output tilted.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import topogen
from topogen.sampling import sample
from topogen.training.trainer import Settings

DATA = Path(__file__).resolve().parents[1] / "data" / "trefoil_knot_noisy.csv"
# A knot learned in fewer steps still has strands that touch, and the chains find their way into the bridges.
STEPS_IN_SHORT = 1600
CENTRE, WIDTH = torch.tensor([0.9, 0.6, 0.0], dtype=torch.float64), 0.5


def main() -> int:
    """Fit, sample twice, compare, draw; returns 0 if the two means agree within five standard errors."""
    options = parse()
    cloud = topogen.points.read(DATA)
    model = topogen.fit(cloud, seed=options.seed, settings=Settings(steps=STEPS_IN_SHORT) if options.short else None)
    generator = torch.Generator().manual_seed(options.seed)

    uniform = model.sample(5_000 if options.short else 20_000, generator=generator)
    weights = torch.softmax(-energy(uniform), 0)
    expected = weights @ uniform
    start = uniform[torch.multinomial(weights, 200 if options.short else 1000, generator=generator)]
    chains = sample(model.manifold, energy, start=start, kernel="langevin", n_steps=30 if options.short else 200, n_warm_up=100, generator=generator)

    means = chains.points.mean(0)
    spread = (means.std(0) ** 2 / len(means) + weights.square().sum() * uniform.std(0) ** 2).sqrt()
    gap = float(((means.mean(0) - expected) / spread).abs().max())
    print(f"mean of the chains   {means.mean(0).numpy().round(3)}, acceptance {float(chains.acceptance.mean()):.2f}, effective samples {chains.ess.min():.0f}")
    print(f"mean by importance   {expected.numpy().round(3)}; the two are at most {gap:.1f} standard errors apart")
    draw(options.output, cloud, chains.points[-1])
    print(f"picture in {options.output}")
    return 0 if gap < 5 else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Sample a Gaussian restricted to a learned knot.")
    parser.add_argument("--output", type=Path, default=Path("tilt_a_learned_knot.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few steps, to try it out")
    return parser.parse_args()


def energy(x: Tensor) -> Tensor:
    """|x - a|^2 / (2 s^2) (n,)."""
    return (x - CENTRE).square().sum(-1) / (2 * WIDTH**2)


def draw(path: Path, cloud: Tensor, samples: Tensor) -> None:
    """The samples (n, 3) over the cloud (m, 3)."""
    figure = Figure(figsize=(7, 6), layout="constrained")
    panel = figure.add_subplot(projection="3d", computed_zorder=False)
    panel.scatter(*cloud.T.numpy(), s=4, alpha=0.25, linewidths=0, color="gray", label="noisy data")
    panel.scatter(*samples.T.numpy(), s=8, alpha=0.8, linewidths=0, color="tab:red", label="samples of the tilted density on the learned knot")
    panel.scatter(*CENTRE.numpy(), s=70, marker="*", color="tab:green", label="centre of the Gaussian")
    panel.set(xlabel="x1", ylabel="x2", zlabel="x3", title="A Gaussian restricted to a learned trefoil knot")
    panel.set_aspect("equal")
    panel.view_init(65, -60)
    panel.legend(loc="upper left")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
