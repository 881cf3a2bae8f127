"""Draw the pictures of the verdict pages and print the reports that stand there: `python docs/draw_verdicts.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import torch

import topogen
from topogen.manifolds import shapes

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = Path(__file__).resolve().parent
CASES = {"confirmed": ("sphere", 5000, "sphere"), "refuted": ("torus", 20_000, "klein_bottle"), "inconclusive": ("torus", 3000, "torus")}
COLOURS = ("tab:blue", "tab:orange", "tab:green")


def main() -> None:
    """One picture and one report for each verdict."""
    for name, (shape, n, expect) in CASES.items():
        points = shapes.get(shape).sample(n, generator=torch.Generator().manual_seed(0))
        result = topogen.verify(points, expect=expect, density_ratio=1.1)
        draw(HERE / f"{name}.png", points, result, f"{n} points of a {shape}, expected {expect.replace('_', ' ')}: {result.verdict}")
        print(result.to_text(), end="\n\n")


def draw(path: Path, points: torch.Tensor, result: topogen.verification.Result, title: str) -> None:
    """The cloud, and the longest bars over Z/3 beside the scales at which they are read."""
    evidence = result.claims[0].evidence
    figure = pyplot.figure(figsize=(9, 3.6), dpi=80)
    cloud = figure.add_subplot(1, 2, 1, projection="3d")
    cloud.scatter(*points[:3000].T.numpy(), s=0.6, c=points[:3000, 2].numpy(), cmap="viridis")
    cloud.set_box_aspect(tuple((points.amax(0) - points.amin(0)).tolist()))
    cloud.set_axis_off()
    bars = figure.add_subplot(1, 2, 2)
    eps, diagram, row = evidence["scale"], evidence["diagrams"]["3"], 0
    for degree, found in enumerate(diagram["bars"]):
        for birth, death in found[:8]:
            end = 4 * eps if death is None else death
            bars.barh(row, end - birth, left=birth, color=COLOURS[degree], height=0.7, label=f"H_{degree}")
            row += 1
    bars.axvspan(eps, 3 * eps, color="0.85", zorder=0, label="[eps, 3 eps]")
    bars.axvspan(eps, 1.5 * eps, color="0.7", zorder=0, label="[eps, 1.5 eps]")
    bars.set(xlabel="radius (data units)", yticks=[], xlim=(0, 4 * eps), title=f"longest bars over Z/3, eps = {eps:.2g}")
    bars.invert_yaxis()
    handles, labels = bars.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    bars.legend(unique.values(), unique.keys(), loc="upper right", fontsize=7, framealpha=0.9)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
