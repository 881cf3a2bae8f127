"""A topology check for a pipeline: does a cloud or a saved model have the topology that it should have?

Writes the evidence as JSON and a picture, and exits with the code of the verdict: 0 confirmed, 1 refuted, 4 inconclusive; 3 for input that cannot be used.
Without arguments it checks a Klein bottle in R^4. A check that never fails checks nothing, so the second line has to be refuted, and is:

    python examples/verify_in_a_pipeline.py
    topogen shapes sphere -n 5000 -o sphere.npy && python examples/verify_in_a_pipeline.py sphere.npy --expect torus --density-ratio 1.1
    python examples/verify_in_a_pipeline.py MODEL_FOLDER --expect torus --json evidence.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

import topogen
from topogen.errors import TopogenError
from topogen.report.figures import draw_clouds

DATA = Path(__file__).resolve().parents[1] / "data"


def main() -> int:
    """Verify, write, say; returns the exit code."""
    options = parse()
    try:
        return check(options)
    except TopogenError as error:
        print(f"cannot check {options.subject}: {error}", file=sys.stderr)
        return error.exit_code


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Verify the topology of a cloud or a saved model.")
    parser.add_argument("subject", type=Path, nargs="?", default=DATA / "klein_bottle.npy", help="a file of points or the folder of a saved model")
    parser.add_argument("--expect", default="klein_bottle", help="a name or Betti numbers such as 1,2,1 (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=Path("verification.json"), help="the evidence (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("verification.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--density-ratio", type=float, help="largest over smallest density of a cloud, where that is known; a cloud is not refuted without")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="few samples of a model, to try it out; a cloud is always read whole")
    return parser.parse_args()


def check(options: argparse.Namespace) -> int:
    """Verify the subject, write the JSON and the picture, print the verdict in one line."""
    n = 2000 if options.short else None
    model = topogen.load(options.subject) if options.subject.is_dir() else None
    points = topogen.points.read(options.subject) if model is None else model.sample(n or 5000, generator=torch.Generator().manual_seed(options.seed))
    result = topogen.verify(points if model is None else model, expect=options.expect, density_ratio=options.density_ratio, n_samples=n, seed=options.seed)
    options.json.write_text(result.to_json(), encoding="utf-8")
    draw_clouds(options.output, {options.subject.name: points}, f"{options.expect} expected: {result.verdict}")
    print(f"{options.subject.name}: {result.verdict} as {options.expect}: {result.summary}")
    print(f"evidence in {options.json}, picture in {options.output}")
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
