"""Optimise over a manifold that was learned from points, with geoopt.

A torus is learned from a cloud; every manifold of topogen is a `geoopt.Manifold`, so geoopt's optimisers run on it. Riemannian Adam moves a few points
along the learned torus to the one that is nearest to a target outside of it, and `model.project(target)` gives the answer to compare with.
The picture shows the paths over samples of the learned torus.

    python examples/optimise_on_a_learned_manifold.py --output paths.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import geoopt
import torch
from matplotlib.figure import Figure
from torch import Tensor

import topogen
from topogen.training.trainer import Settings

DATA = Path(__file__).resolve().parents[1] / "data" / "torus.csv"
TARGET = torch.tensor([1.2, -0.9, 0.7], dtype=torch.float64)


def main() -> int:
    """Fit, optimise, compare with the projection, draw; returns 0 if the best path ends where the projection lies."""
    options = parse()
    model = topogen.fit(topogen.points.read(DATA), seed=options.seed, settings=Settings(steps=600) if options.short else None)
    samples = model.sample(2000 if options.short else 6000, generator=torch.Generator().manual_seed(options.seed))

    starts = samples[(samples - TARGET).norm(dim=-1).argsort(descending=True)[: len(samples) // 3 : len(samples) // 15]]
    paths = descend(model.manifold, starts, steps=300)
    reached = paths[-1, (paths[-1] - TARGET).norm(dim=-1).argmin()]
    nearest = model.project(TARGET).points
    gap = float((reached - nearest).norm())
    print(f"geoopt reaches {reached.numpy().round(4)} at distance {(reached - TARGET).norm():.6f} from the target")
    print(f"project gives  {nearest.numpy().round(4)} at distance {(nearest - TARGET).norm():.6f}; the two are {gap:.1e} apart")

    draw(options.output, samples, paths, nearest)
    print(f"picture in {options.output}")
    return 0 if gap < 0.02 else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Find the point of a learned torus that is nearest to a target.")
    parser.add_argument("--output", type=Path, default=Path("optimise_on_a_learned_manifold.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few steps, to try it out")
    return parser.parse_args()


def descend(manifold: topogen.manifolds.Manifold, starts: Tensor, steps: int) -> Tensor:
    """Paths (steps + 1, m, 3) of Riemannian Adam on 1/2 |x - target|^2 from starts (m, 3); every point of them lies on the manifold."""
    x = geoopt.ManifoldParameter(starts.clone(), manifold=manifold)
    optimiser = geoopt.optim.RiemannianAdam([x], lr=0.04)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=1e-4)
    path = [starts]
    for _ in range(steps):
        optimiser.zero_grad()
        (0.5 * (x - TARGET).square().sum()).backward()
        optimiser.step()
        schedule.step()
        path.append(x.detach().clone())
    return torch.stack(path)


def draw(path: Path, samples: Tensor, paths: Tensor, nearest: Tensor) -> None:
    """Draw the paths (t, m, 3) over the samples (n, 3), with the target and its projection."""
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    panel = figure.add_subplot(projection="3d", computed_zorder=False)
    panel.scatter(*samples.T.numpy(), s=5, alpha=0.5, linewidths=0, depthshade=False, color="gray", label="samples of the learned torus")
    for number in range(paths.shape[1]):
        panel.plot(*paths[:, number].T.numpy(), color="tab:blue", linewidth=1.8, label="paths of Riemannian Adam" if number == 0 else None)
    panel.scatter(*paths[0].T.numpy(), s=25, color="tab:blue", label="starts")
    panel.scatter(*TARGET.numpy(), s=70, marker="*", color="tab:green", label="target")
    panel.scatter(*nearest.numpy(), s=50, marker="x", color="tab:red", label="projection of the target")
    panel.set(xlabel="x1", ylabel="x2", zlabel="x3", title="The nearest point of a learned torus, found with geoopt")
    panel.locator_params(nbins=5)
    panel.set_aspect("equal")
    panel.view_init(45, -60)
    panel.legend(loc="upper left", markerscale=1.5)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
