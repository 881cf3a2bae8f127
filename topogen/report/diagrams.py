"""Pictures of topology: the barcode, the persistence diagram, and the cloud with the loops that run around its holes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.report.panels import dress, matplotlib_classes, places, thin, view
from topogen.topology.persistence.loops import Loop
from topogen.topology.persistence.persistence import Diagram
from topogen.verification import Result

__all__ = ["diagrams_in", "draw_topology"]

LISTED = 20
HAIR = 0.003


def draw_topology(path: Path, diagram: Diagram, cloud: Tensor | None = None, loops: Sequence[Loop] = (), scale: float | None = None, title: str = "") -> None:
    """Write a PNG with the barcode (the twenty longest bars of each degree), the persistence diagram, and the `loops` in the cloud (n, D) they index.

    `scale`: the eps of homology, drawn as a line. Bars that are alive at the end are arrows. Radii in data units. Raises MissingDependencyError without
    matplotlib.
    """
    figure_class, canvas = matplotlib_classes()
    columns = 2 if cloud is None else 3
    figure = figure_class(figsize=(5.0 * columns, 4.8), layout="constrained")
    canvas(figure)
    end = _end(diagram)
    _barcode(figure.add_subplot(1, columns, 1), diagram, end, scale)
    _points(figure.add_subplot(1, columns, 2), diagram, end, scale)
    if cloud is not None:
        _around(figure, columns, cloud.detach().double().cpu(), loops)
    figure.suptitle(title, fontsize=11, wrap=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def diagrams_in(result: Result) -> dict[str, Diagram]:
    """The diagrams (their longest bars) behind the claims of a verification over its first field, by the text of the claim."""
    found: dict[str, Diagram] = {}
    for claim in result.claims:
        summaries: Mapping[str, Any] = claim.evidence.get("diagrams", {})
        if summaries:
            found[claim.text] = Diagram.from_dict(next(iter(summaries.values())))
    return found


def _end(diagram: Diagram) -> float:
    """Where the pictures end: the end of the filtration, or a little above the last death."""
    values = np.concatenate([bars[np.isfinite(bars)] for bars in diagram.bars])
    top = float(values.max(initial=0.0)) or 1.0
    return diagram.end if math.isfinite(diagram.end) else 1.08 * top


def _barcode(panel: Any, diagram: Diagram, end: float, scale: float | None) -> None:
    height = 0
    for degree, bars in enumerate(diagram.bars):
        seen = bars[np.minimum(bars[:, 1], end) - bars[:, 0] > HAIR * end]
        chosen = seen[np.argsort(seen[:, 0] - seen[:, 1], kind="stable")[:LISTED]]
        for birth, death in chosen[::-1]:
            alive = not math.isfinite(death)
            panel.plot([birth, min(death, end)], [height, height], color=f"C{degree}", linewidth=1.6)
            if alive:
                panel.plot([end], [height], color=f"C{degree}", marker=">", markersize=4)
            height += 1
        panel.plot([], [], color=f"C{degree}", label=f"H_{degree}")
        height += 2
    _line(panel, scale)
    panel.set(title=f"barcode over Z/{diagram.field}, {diagram.filtration}", xlabel="radius in data units", yticks=[], xlim=(-0.01 * end, 1.03 * end))
    panel.legend(loc="lower right", fontsize=8)


def _points(panel: Any, diagram: Diagram, end: float, scale: float | None) -> None:
    panel.plot([0, end], [0, end], color="0.7", linewidth=0.8)
    for degree, bars in enumerate(diagram.bars):
        _scatter(panel, bars[np.isfinite(bars[:, 1])], end, f"C{degree}", "o")
        _scatter(panel, bars[~np.isfinite(bars[:, 1])], end, f"C{degree}", "^")
    _line(panel, scale)
    panel.set(title="persistence diagram", xlabel="birth", ylabel="death (triangles: alive at the end)", xlim=(-0.03 * end, 1.05 * end), ylim=(0, 1.05 * end))


def _scatter(panel: Any, bars: NDArray[np.float64], end: float, color: str, marker: str) -> None:
    if len(bars):
        panel.scatter(bars[:, 0], np.minimum(bars[:, 1], end), s=16, color=color, marker=marker, alpha=0.7, linewidths=0)


def _line(panel: Any, scale: float | None) -> None:
    if scale is not None:
        panel.axvline(scale, color="0.3", linewidth=0.8, linestyle="--", label=f"eps {scale:.3g}")


def _around(figure: Any, columns: int, cloud: Tensor, loops: Sequence[Loop]) -> None:
    """The cloud in grey and each loop as a closed line, on the axes that all pictures of clouds use, three at most."""
    centre, axes, labels = view(cloud)
    axes, labels = axes[:, :3], labels[:3]
    panel = figure.add_subplot(1, columns, columns, projection="3d" if len(labels) > 2 else None)
    shown = (thin(cloud) - centre) @ axes
    panel.scatter(*places(shown), s=4, color="0.6", alpha=0.4, linewidths=0)
    for number, loop in enumerate(loops):
        path = (cloud[torch.cat([loop.indices, loop.indices[:1]])] - centre) @ axes
        panel.plot(*places(path), color=f"C{1 + number % 9}", linewidth=2, label=f"{loop.birth:.3g} to {loop.death:.3g}")
    if loops:
        panel.legend(loc="upper right", fontsize=8)
    limits = torch.stack([shown.amin(0), shown.amax(0)], dim=1).tolist()
    dress(panel, f"{len(loops)} shortest loops around holes" if loops else "no lasting holes", labels, limits)
