"""Pictures of clouds: the data and the samples side by side, on the same axes; the singular points among the others; the charts of an atlas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topogen.manifolds.atlas.atlas import Atlas
from topogen.report.panels import dress, matplotlib_classes, places, thin, view
from topogen.topology.strata.strata import Stratum

__all__ = ["draw_atlas", "draw_clouds", "draw_run", "draw_strata"]

PATCHED, LISTED = 12_000, 6

Edge = Callable[[Tensor], Tensor]


def draw_run(path: Path, data: Tensor, samples: Tensor, title: str, edge: Edge | None = None) -> None:
    """Write a PNG with the data and the samples (n, D) of a run, the rows in red that `edge` says lie at the boundary.

    Raises MissingDependencyError without matplotlib.
    """
    draw_clouds(path, {"data": data, "samples of the learned manifold": samples}, title, edge)


def draw_clouds(path: Path, clouds: dict[str, Tensor], title: str, edge: Edge | None = None) -> None:
    """Write a PNG with one panel per named cloud (n, D), all on the same axes.

    For D <= 3 the axes are the coordinates, above the first three principal coordinates of the first cloud, and the fourth is the colour.
    `edge` maps (n, D) float64 to a mask (n,); its rows are drawn again in red. Raises MissingDependencyError without matplotlib.
    """
    figure_class, canvas = matplotlib_classes()
    centre, axes, labels = view(next(iter(clouds.values())).double())
    thinned = {name: thin(cloud.double()) for name, cloud in clouds.items()}
    shown = {name: (cloud - centre) @ axes for name, cloud in thinned.items()}
    together = torch.cat(list(shown.values()))
    limits = torch.stack([together.amin(0), together.amax(0)], dim=1).tolist()
    figure = figure_class(figsize=(5.8 * len(clouds) + (0.8 if len(labels) > 3 else 0.0), 5.4), layout="constrained")
    canvas(figure)
    panels = [figure.add_subplot(1, len(clouds), i + 1, projection="3d" if len(labels) > 2 else None) for i in range(len(clouds))]
    for panel, (name, cloud) in zip(panels, shown.items(), strict=True):
        drawn = _scatter(panel, cloud, limits)
        if edge is not None:
            _mark(panel, cloud[edge(thinned[name])])
        dress(panel, name, labels[:3], limits[:3])
    if len(labels) > 3:
        figure.colorbar(drawn, ax=panels, label=labels[3], shrink=0.6)
    figure.suptitle(title, fontsize=11, wrap=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_strata(path: Path, cloud: Tensor, strata: Sequence[Stratum]) -> None:
    """Write a PNG of a cloud (n, D) in grey with each stratum of its singular set in a colour of its own, on the axes of `draw_clouds`, three at most.

    Raises MissingDependencyError without matplotlib.
    """
    figure_class, canvas = matplotlib_classes()
    centre, axes, labels = view(cloud.double())
    labels = labels[:3]
    shown = (thin(cloud.double()) - centre) @ axes[:, :3]
    limits = torch.stack([shown.amin(0), shown.amax(0)], dim=1).tolist()
    figure = figure_class(figsize=(7.0, 6.0), layout="constrained")
    canvas(figure)
    panel = figure.add_subplot(1, 1, 1, projection="3d" if len(labels) > 2 else None)
    panel.scatter(*places(shown), s=4, color="0.45", alpha=0.5, linewidths=0)
    shade = {"depthshade": False} if len(labels) > 2 else {}
    for number, stratum in enumerate(strata):
        seen = places((stratum.points.double() - centre) @ axes[:, :3])
        panel.scatter(*seen, s=9, color=f"C{1 + number % 9}", linewidths=0, label=stratum.to_text() if number < LISTED else None, **shade)
    if strata:
        panel.legend(loc="upper right", fontsize=8)
    dress(panel, "where sheets cross or branch", labels, limits)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_atlas(path: Path, atlas: Atlas) -> None:
    """Write a PNG of an atlas: its known points coloured by the chart in whose middle they lie, and beside them the nerve, an edge for every two charts that
    overlap, red where they turn against each other once all signs were chosen as well as one walk through the charts can.

    Raises MissingDependencyError without matplotlib.
    """
    figure_class, canvas = matplotlib_classes()
    x = thin(atlas.points, PATCHED)
    centre, axes, labels = view(atlas.points)
    axes, labels = axes[:, :3], labels[:3]
    shown, middles = (x - centre) @ axes, (atlas.charts.centre - centre) @ axes
    limits = torch.stack([shown.amin(0), shown.amax(0)], dim=1).tolist()
    figure = figure_class(figsize=(12.0, 5.6), layout="constrained")
    canvas(figure)
    patches, graph = (figure.add_subplot(1, 2, i + 1, projection="3d" if len(labels) > 2 else None) for i in range(2))
    patches.scatter(*places(shown), c=[f"C{int(k) % 10}" for k in _coloured(atlas, x)], s=5, linewidths=0)
    edges, reversing = _nerve_edges(atlas, x)
    for (a, b), against in zip(edges.tolist(), reversing.tolist(), strict=True):
        graph.plot(*places(middles[[a, b]]), color="tab:red" if against else "0.6", linewidth=1.4 if against else 0.7, zorder=2 if against else 1)
    graph.scatter(*places(middles), s=18, color="black", zorder=3)
    dress(patches, f"{atlas.count} charts", labels, limits)
    dress(graph, f"nerve: {int(reversing.sum())} of {len(edges)} overlaps reverse orientation", labels, limits)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _coloured(atlas: Atlas, x: Tensor) -> Tensor:
    """A colour number (n,) for each point: that of its chart, charts that meet having different ones while ten suffice."""
    holds = atlas.holds(atlas.points).double()
    meet = (holds.T @ holds) > 0
    colour = torch.full((atlas.count,), -1, dtype=torch.int64)
    for k in range(atlas.count):
        taken = set(colour[meet[k]].tolist())
        colour[k] = next((c for c in range(10) if c not in taken), k % 10)
    return colour[atlas.encode(x).chart]


def _nerve_edges(atlas: Atlas, x: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of charts (m, 2) that share a point, and which of them turn against each other after every chart took the sign of the one it was reached from."""
    signs = atlas.stretches(x).sign()
    products = signs.T @ signs
    alike = torch.where(products != 0, products.sign(), 0.0)
    chosen = torch.zeros(atlas.count, dtype=alike.dtype)
    for seed in range(atlas.count):
        stack = [seed] if chosen[seed] == 0 else []
        while stack:
            k = stack.pop()
            chosen[k] = chosen[k] if chosen[k] != 0 else 1.0
            fresh = ((alike[k] != 0) & (chosen == 0)).nonzero().squeeze(-1)
            chosen[fresh] = alike[k, fresh] * chosen[k]
            stack += fresh.tolist()
    edges = torch.triu(alike != 0, 1).nonzero()
    return edges, (alike * chosen[:, None] * chosen[None])[edges[:, 0], edges[:, 1]] < 0


def _scatter(panel: Any, cloud: Tensor, limits: list[list[float]]) -> Any:
    """The points of (n, 1..4); from three columns on coloured by the last, which is the height or the fourth coordinate."""
    if cloud.shape[1] < 3:
        return panel.scatter(*places(cloud), s=6, alpha=0.6, linewidths=0)
    low, high = limits[-1]
    return panel.scatter(*places(cloud), c=cloud[:, -1].numpy(), vmin=low, vmax=high, cmap="viridis", s=5, alpha=0.8, linewidths=0)


def _mark(panel: Any, cloud: Tensor) -> None:
    """The points of (n, 1..4) again, in red, with a legend; nothing where there are none."""
    if len(cloud):
        panel.scatter(*places(cloud), color="tab:red", s=9, linewidths=0, label="near the boundary", **({"depthshade": False} if cloud.shape[1] > 2 else {}))
        panel.legend(loc="upper right", fontsize=8)
