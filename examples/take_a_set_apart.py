"""A set that is no manifold: where its sheets cross, what each smooth sheet is, and a picture of them.

Without data: a torus and a sphere around a part of its tube, which meet in two circles. With --data FILE, the published conformations of cyclooctane
(pointsCycloOctane.mat), a sphere and a Klein bottle that meet in two circles; the Klein bottle is too sparse to decide by itself, so with --learn a constraint
is learned from its sheet and verified in its place (some ten minutes).

    python examples/take_a_set_apart.py
    python examples/take_a_set_apart.py --data pointsCycloOctane.mat --learn
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import topogen
from topogen.manifolds.shapes import Sphere, Torus
from topogen.report.figures import draw_clouds
from topogen.verification import Verdict, verify_sheets


def main() -> int:
    """Take the set apart, say what was found, draw it; the exit code is 1 only where the expectation is refuted."""
    options = parse()
    points = sphere_and_torus(options.short) if options.data is None else conformations(options.data)
    found = verify_sheets(points, ("sphere", "torus") if options.data is None else ("sphere", "klein_bottle"), seed=options.seed)
    print(found.to_text())
    for number, sheet in enumerate(found.sheets, 1):
        if options.learn and sheet.verdict is Verdict.INCONCLUSIVE:
            model = topogen.fit(sheet.points, dim=2, seed=options.seed, quiet=True)
            result = topogen.verify(model, expect=sheet.expected, seed=options.seed)
            print(f"sheet {number}, learned: {result.verdict} as {sheet.expected} [{result.label}]: {result.summary}")
    clouds = {"the set": torch.as_tensor(points).double(), **{f"sheet {i}, {sheet.expected}": sheet.points for i, sheet in enumerate(found.sheets, 1)}}
    draw_clouds(options.output, clouds, f"{len(found.sheets)} smooth sheets, {len(found.claims) - 1} places where they cross")
    print(f"picture in {options.output}")
    return int(found.verdict is Verdict.REFUTED)


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Take a set apart where its sheets cross.")
    parser.add_argument("--data", type=Path, help="pointsCycloOctane.mat")
    parser.add_argument("--learn", action="store_true", help="learn the sheets that are too sparse to decide")
    parser.add_argument("--output", type=Path, default=Path("sheets.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="fewer points")
    return parser.parse_args()


def sphere_and_torus(short: bool) -> torch.Tensor:
    """A torus of radii 1 and .4 and a sphere of radius .7 around a point of its core circle, which meet in two curves around the tube."""
    generator = torch.Generator().manual_seed(0)
    torus = Torus().sample(10_000 if short else 20_000, generator=generator)
    sphere = 0.7 * Sphere(2).sample(3000 if short else 6000, generator=generator) + torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    return torch.cat([torus, sphere])


def conformations(path: Path) -> torch.Tensor:
    """The published conformations (6040, 24)."""
    from scipy.io import loadmat

    return torch.tensor(loadmat(path)["pointsCycloOctane"], dtype=torch.float64)


if __name__ == "__main__":
    raise SystemExit(main())
