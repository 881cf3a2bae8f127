"""Pictures of a density on M: samples over the data, the density as colour, the reverse walk of a diffusion as a strip.

On a closed surface in R^3 the density colours the triangles of its mesh (the mean of their corners), elsewhere the points: those of the model, so that places
without data are seen as well. Colours are those of log p, in nats against the volume of M, cut off `DEPTH` nats below the top. Above three dimensions
the axes are the principal ones of the data.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topogen.distributions.density_table import DENSITIES
from topogen.errors import InvalidInputError, TopogenError
from topogen.model import Model
from topogen.points import as_points
from topogen.report.panels import dress, matplotlib_classes, places, thin, view
from topogen.topology.level_sets.surfaces import Mesh, mesh_of

__all__ = ["draw_density", "draw_walk"]

RESOLUTION, POOL, DEPTH = 48, 4000, 6.0
SEED = 0


def draw_density(path: Path, model: Model, points: Tensor, *, samples: Tensor | None = None, mesh: Mesh | None = None) -> None:
    """Write a PNG with samples of a model over the data (n, D), and beside it log p as colour.

    `samples` (m, D), `mesh`: where they are made already. Raises InvalidInputError for points of another dimension than the model,
    MissingDependencyError without matplotlib.
    """
    figure_class, canvas = matplotlib_classes()
    points = _checked(as_points(points), model)
    frame = view(points)
    drawn = model.sample(min(len(points), POOL), torch.Generator().manual_seed(SEED)) if samples is None else samples.double()
    figure = figure_class(figsize=(12.4, 5.6), layout="constrained")
    canvas(figure)
    flat = len(frame[2]) < 3
    left, right = (figure.add_subplot(1, 2, i + 1, projection=None if flat else "3d") for i in range(2))
    limits = _overlay(left, _seen(points, frame), _seen(drawn, frame))
    surface = _surface(model, points, mesh)
    shown = _coloured_points(right, model, drawn, frame) if surface is None else _coloured_mesh(right, model, *surface)
    dress(left, "samples over the data", frame[2][:3], limits)
    dress(right, "density", frame[2][:3], limits)
    figure.colorbar(shown, ax=right, label="log density (nats)", shrink=0.7, extend="min")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_walk(path: Path, stages: Tensor) -> None:
    """Write a PNG with stages (k, n, D) of a walk, as `reverse_walk(..., keep=k - 1)` gives them, side by side; the axes are those of the last.

    Points keep their colour, that of their place at the end along the longest axis. Raises InvalidInputError for another shape or NaN,
    MissingDependencyError without matplotlib.
    """
    figure_class, canvas = matplotlib_classes()
    if stages.ndim != 3 or min(stages.shape) < 1 or not bool(torch.isfinite(stages).all()):
        raise InvalidInputError(f"stages: expected finite (k, n, D) with all of them at least 1, found {tuple(stages.shape)}; see reverse_walk(keep=)")
    stages = stages.detach().double()
    frame = view(stages[-1])
    seen = torch.stack([_seen(thin(stage), frame) for stage in stages])
    colour = _along(seen[-1])
    limits = torch.stack([seen.flatten(0, 1).amin(0), seen.flatten(0, 1).amax(0)], dim=1).tolist()
    figure = figure_class(figsize=(3.0 * len(seen), 3.4), layout="constrained")
    canvas(figure)
    for i, cloud in enumerate(seen):
        panel = figure.add_subplot(1, len(seen), i + 1, projection=None if cloud.shape[1] < 3 else "3d")
        panel.scatter(*places(cloud), c=colour.numpy(), cmap="viridis", s=4, alpha=0.8, linewidths=0)
        dress(panel, _stage_name(i, len(seen)), ["", "", ""][: cloud.shape[1]], limits)
        panel.tick_params(labelbottom=False, labelleft=False, labelright=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _checked(points: Tensor, model: Model) -> Tensor:
    if points.shape[1] != model.manifold.ambient_dim:
        raise InvalidInputError(f"points: the model lies in R^{model.manifold.ambient_dim}, found points in R^{points.shape[1]}")
    return points.double()


def _seen(cloud: Tensor, frame: tuple[Tensor, Tensor, list[str]]) -> Tensor:
    """(n, 1..3) of (n, D): where a cloud is drawn."""
    centre, axes, _ = frame
    return (cloud - centre) @ axes[:, :3]


def _overlay(panel: Any, data: Tensor, samples: Tensor) -> list[list[float]]:
    """Data in grey, samples in red; the limits of both."""
    together = torch.cat([data, samples])
    shade = {"depthshade": False} if data.shape[1] > 2 else {}
    panel.scatter(*places(thin(data)), s=5, color="0.55", alpha=0.6, linewidths=0, label="data", **shade)
    panel.scatter(*places(thin(samples)), s=5, color="tab:red", alpha=0.6, linewidths=0, label="samples", **shade)
    panel.legend(loc="upper right", fontsize=8, markerscale=2)
    return torch.stack([together.amin(0), together.amax(0)], dim=1).tolist()


def _surface(model: Model, points: Tensor, mesh: Mesh | None) -> tuple[Tensor, Tensor] | None:
    """Vertices (v, 3) and faces (f, 3) of a learned surface in R^3, None for anything else and where there is no mesh of it."""
    if (model.manifold.dim, model.manifold.ambient_dim) != (2, 3):
        return None
    try:
        coarse = mesh if mesh is not None and len(mesh.vertices) <= POOL else mesh_of(model.manifold.underlying, points, RESOLUTION)  # type: ignore[arg-type]
        return coarse.without_ghosts()
    except TopogenError:
        return None


def _coloured_mesh(panel: Any, model: Model, vertices: Tensor, faces: Tensor) -> Any:
    values = model.log_prob(vertices)[faces].mean(1)
    low, high = _range(values)
    drawn = panel.plot_trisurf(*vertices.T.numpy(), triangles=faces.numpy(), cmap="viridis", linewidth=0, antialiased=False, shade=False)
    drawn.set_array(values.clamp_min(low).numpy())
    drawn.set_clim(low, high)
    return drawn


def _coloured_points(panel: Any, model: Model, drawn: Tensor, frame: tuple[Tensor, Tensor, list[str]]) -> Any:
    """The densest on top."""
    pool = _pool(model, drawn)
    values = model.log_prob(pool)
    low, high = _range(values)
    order = values.argsort()
    shade = {"depthshade": False} if len(frame[2]) > 2 else {}
    seen, colours = places(_seen(pool[order], frame)), values[order].clamp_min(low).numpy()
    return panel.scatter(*seen, c=colours, cmap="viridis", vmin=low, vmax=high, s=7, linewidths=0, **shade)


def _pool(model: Model, drawn: Tensor) -> Tensor:
    """Uniform points of M where the model knows some, and samples elsewhere."""
    density = DENSITIES.covering(model.distribution)
    return thin(drawn if density is None or density.pool is None else density.pool(model.distribution))


def _range(values: Tensor) -> tuple[float, float]:
    """Between which log densities colours change."""
    finite = values[torch.isfinite(values)]
    if not len(finite):
        raise InvalidInputError("model: its density is 0 wherever it was looked at; fit it to these points")
    top = float(finite.max())
    return max(float(finite.min()), top - DEPTH) - 1e-9 * (1 + abs(top)), top


def _along(cloud: Tensor) -> Tensor:
    """Rank (n,) in [0, 1] along the longest axis."""
    longest = int(cloud.std(0, correction=0).argmax())
    return cloud[:, longest].argsort().argsort().double() / max(len(cloud) - 1, 1)


def _stage_name(i: int, count: int) -> str:
    if i == 0:
        return "noise"
    return "samples" if i == count - 1 else f"{math.floor(100 * i / (count - 1))} % of the way"
