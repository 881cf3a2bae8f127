"""Certify a Klein bottle: charts that cover it, and why no choice of orientation for them can be consistent.

A constraint is learned from a cloud in R^4 and its zero set covered by charts. `topogen.certify` then reads the topology from three sources that know
nothing of each other: the nerve of the cover, persistent homology of uniform samples, and homology of the data. Around one cycle of overlapping charts the
transitions reverse orientation an odd number of times, which proves that the surface has one side only.
The picture shows the charts, and their nerve with that cycle. In short mode the charts are fitted to exact samples and
nothing is learned.

    python examples/certify_a_klein_bottle.py --output klein.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import topogen
from topogen.learning.atlas.fit import objection_to
from topogen.learning.atlas.good_cover import good_cover
from topogen.manifolds import Atlas
from topogen.manifolds.shapes import KleinBottle

DATA = Path(__file__).resolve().parents[1] / "data" / "klein_bottle.npy"
SAMPLES_IN_SHORT = 12_000
EXPECTED = {2: (1, 2, 1), 3: (1, 1, 0)}


def main() -> int:
    """Learn, certify, draw; returns 0 if the sources agree on a Klein bottle and an odd cycle of charts says that it is not orientable."""
    options = parse()
    cloud = topogen.points.read(DATA)
    atlas = given(options.seed) if options.short else topogen.fit(cloud, manifold="atlas", seed=options.seed).manifold
    found = topogen.certify(atlas, cloud, samples=SAMPLES_IN_SHORT if options.short else None, seed=options.seed)

    for field, expected in EXPECTED.items():
        rows = {"nerve": found.nerve_betti[field], "samples": found.samples_betti[field], "data": (found.points_betti or {}).get(field)}
        said = ", ".join(f"{name} {betti or 'undecided'}" for name, betti in rows.items())
        print(f"Betti numbers over Z/{field}: {said}; a Klein bottle has {expected}")
    cycle = found.orientation.witness
    print(f"{found.charts} charts, good cover: {found.nerve.good}; Euler characteristic {found.euler}")
    # Charts fitted to samples are right in their places, not in their second derivatives: curvature means something on a learned sheet only.
    if atlas.sheet is not None:
        print(f"Euler characteristic by curvature {found.gauss_bonnet}")
    print(f"orientable: {found.orientable}; odd cycle of charts {' - '.join(map(str, (*cycle, *cycle[:1])))}")
    draw(options.output, atlas, cycle)
    print(f"picture in {options.output}")
    right = all(found.nerve_betti[field] == expected for field, expected in EXPECTED.items())
    return 0 if right and found.orientable is False and len(cycle) > 0 and found.agrees is True else 1


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Certify a Klein bottle by charts.")
    parser.add_argument("--output", type=Path, default=Path("certify_a_klein_bottle.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="charts fitted to exact samples, to try it out")
    return parser.parse_args()


def given(seed: int) -> Atlas:
    """Charts fitted to exact samples of a Klein bottle, without training."""
    samples = KleinBottle().sample(SAMPLES_IN_SHORT, generator=torch.Generator().manual_seed(seed))
    return good_cover(samples, 2, accept=objection_to).atlas


def draw(path: Path, atlas: Atlas, cycle: tuple[int, ...]) -> None:
    """Points of the atlas coloured by chart, and its nerve with the odd cycle, on three principal axes of R^4."""
    x, centre = atlas.points, atlas.points.mean(0)
    axes = torch.linalg.svd(x - centre, full_matrices=False).Vh[:3].T
    shown, middles = (x - centre) @ axes, (atlas.charts.centre - centre) @ axes
    holds = atlas.holds(x).double()
    edges = torch.triu(holds.T @ holds, 1).nonzero()
    figure = Figure(figsize=(12, 5.8), layout="constrained")
    left, right = (figure.add_subplot(1, 2, i, projection="3d", computed_zorder=False) for i in (1, 2))
    colours = (7 * atlas.encode(x).chart % 20).numpy()
    left.scatter(*shown.T.numpy(), c=colours, cmap="tab20", vmin=0, vmax=19, s=8, linewidths=0)
    left.set_title(f"{atlas.count} charts")
    for pair in edges:
        right.plot(*middles[pair].T.numpy(), color="0.7", linewidth=0.6, zorder=1)
    around = middles[[*cycle, *cycle[:1]]]
    right.plot(
        *around.T.numpy(), color="tab:red", linewidth=3, marker="o", markersize=5, zorder=3, label=f"{len(cycle)} charts that turn the orientation around"
    )
    right.set_title("Nerve and odd cycle")
    right.legend(loc="upper left")
    for panel in (left, right):
        panel.set_box_aspect((shown.amax(0) - shown.amin(0)).tolist(), zoom=1.25)
        panel.view_init(50, -50)
        panel.set_axis_off()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
