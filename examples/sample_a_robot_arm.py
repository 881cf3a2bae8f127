"""Sample the postures of a three-link robot arm whose hand stays on a line, above a floor.

The joints p1, p2 and the hand p3 in the plane are six coordinates; three link lengths and the height of the hand are four equations, so the postures form a
surface in R^6. The floor is an inequality, a wall that reflects the trajectories of constrained Hamiltonian Monte Carlo. The density prefers a
stretched arm. Jumps along random planes let chains change between elbow-up and elbow-down postures where these are separate components.
The picture shows some arms and where on the line the hand is.

    python examples/sample_a_robot_arm.py --output arm.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from topogen.manifolds import ImplicitManifold
from topogen.sampling import sample

LINKS = torch.tensor([1.0, 0.8, 0.6], dtype=torch.float64)
HEIGHT, FLOOR = 1.1, -0.1


def main() -> int:
    """Sample, check, draw; returns 0 if every posture keeps its links, the line and the floor."""
    options = parse()
    generator = torch.Generator().manual_seed(options.seed)
    manifold = ImplicitManifold(constraint, dim=2, ambient_dim=6)
    start = postures(manifold, 60 if options.short else 300, generator)
    chains = sample(
        manifold, energy, start=start, walls=above_the_floor, jumps=10, n_steps=50 if options.short else 400, n_warm_up=50 if options.short else 200,
        generator=generator,
    )  # fmt: skip

    points = chains.points.reshape(-1, 6)
    error, lowest = float(constraint(points).abs().max()), float(above_the_floor(points).min())
    accepted = float(chains.acceptance.mean())
    print(f"{chains.points.shape[1]} chains of {chains.n_steps} steps, acceptance {accepted:.2f}, effective samples {chains.ess.min():.0f}")
    print(f"links and line are kept to {error:.1e}; no joint is lower than {lowest + FLOOR:.3f}; elbow up in {100 * elbow_up(points):.0f} % of the postures")
    draw(options.output, points, chains.points[-1])
    print(f"picture in {options.output}")
    return 0 if error < 1e-8 and lowest >= 0 else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Sample the postures of a robot arm with its hand on a line.")
    parser.add_argument("--output", type=Path, default=Path("sample_a_robot_arm.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few chains and steps, to try it out")
    return parser.parse_args()


def constraint(x: Tensor) -> Tensor:
    """Squared link lengths less their values, and the hand's height over the line, (n, 4) of postures (n, 6)."""
    joints = x.reshape(-1, 3, 2)
    links = torch.cat([joints[:, :1], joints[:, 1:] - joints[:, :-1]], 1)
    return torch.cat([links.square().sum(-1) - LINKS**2, joints[:, 2, 1:] - HEIGHT], 1)


def above_the_floor(x: Tensor) -> Tensor:
    """Heights (n, 2) of the two joints over the floor, allowed where positive."""
    return x.reshape(-1, 3, 2)[:, :2, 1] - FLOOR


def energy(x: Tensor) -> Tensor:
    """Prefers the middle joint far from the base: 2 (2 - |p2|)^2."""
    return 2 * (2 - x[:, 2:4].norm(dim=1)).square()


def postures(manifold: ImplicitManifold, n: int, generator: torch.Generator) -> Tensor:
    """n postures (n, 6) above the floor, projected from random joints."""
    found = manifold.project(1.2 * torch.randn(10 * n, 6, generator=generator, dtype=torch.float64))
    points = found.points[found.converged]
    return points[(above_the_floor(points) > 0).all(1)][:n]


def elbow_up(x: Tensor) -> float:
    """Share of the postures in which the first joint lies to the left of the way from the base to the second."""
    first, second = x[:, 0:2], x[:, 2:4]
    return float((second[:, 0] * first[:, 1] - second[:, 1] * first[:, 0] > 0).double().mean())


def draw(path: Path, points: Tensor, last: Tensor) -> None:
    """Forty of the arms (n, 6), and the density of the hand along the line."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for posture in last[:40].reshape(-1, 3, 2):
        arm = torch.cat([posture.new_zeros(1, 2), posture])
        left.plot(*arm.T.numpy(), marker="o", markersize=3, linewidth=1.2, alpha=0.6)
    left.axhline(HEIGHT, color="black", linewidth=1, label="line of the hand")
    left.axhline(FLOOR, color="tab:brown", linewidth=2, label="floor")
    left.set(title="Forty postures", aspect="equal", xlabel="x", ylabel="y")
    left.legend(loc="lower right")
    right.hist(points[:, 4].numpy(), bins=80, density=True, color="tab:blue")
    right.set(title="Where the hand is", xlabel="x of the hand", ylabel="density")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
