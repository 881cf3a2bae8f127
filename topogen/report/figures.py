"""Pictures of clouds: the data and the samples side by side, on the same axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topogen.errors import MissingDependencyError

__all__ = ["draw_clouds", "draw_run"]

SHOWN = 3000


def draw_run(path: Path, data: Tensor, samples: Tensor, title: str) -> None:
    """Write a PNG with the data and the samples (n, D) of a run; raises MissingDependencyError without matplotlib."""
    draw_clouds(path, {"data": data, "samples of the learned manifold": samples}, title)


def draw_clouds(path: Path, clouds: dict[str, Tensor], title: str) -> None:
    """Write a PNG with one panel per named cloud (n, D): its coordinates for D <= 3, else the first three principal coordinates of the first cloud."""
    figure_class, canvas = _matplotlib()
    first = next(iter(clouds.values())).double()
    centre, axes, labels = _view(first)
    shown = {name: _thin((cloud.double() - centre) @ axes) for name, cloud in clouds.items()}
    flat = axes.shape[1] < 3
    figure = figure_class(figsize=(5.2 * len(clouds), 5.2))
    canvas(figure)
    limits = torch.stack([torch.cat(list(shown.values())).amin(0), torch.cat(list(shown.values())).amax(0)]).tolist()
    for number, (name, cloud) in enumerate(shown.items()):
        panel = figure.add_subplot(1, len(clouds), number + 1, projection=None if flat else "3d")
        panel.scatter(*cloud.T.numpy(), s=2 if flat else 1.2, alpha=0.6, linewidths=0)
        _dress(panel, name, labels, limits)
    figure.suptitle(title, fontsize=10, wrap=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _view(cloud: Tensor) -> tuple[Tensor, Tensor, list[str]]:
    ambient = cloud.shape[1]
    if ambient <= 3:
        return torch.zeros(ambient, dtype=cloud.dtype), torch.eye(ambient, dtype=cloud.dtype), [f"x{i + 1}" for i in range(ambient)]
    centre = cloud.mean(0)
    axes = torch.linalg.svd(cloud - centre, full_matrices=False).Vh[:3].T
    return centre, axes, [f"principal coordinate {i + 1}" for i in range(3)]


def _thin(cloud: Tensor) -> Tensor:
    """At most SHOWN points, evenly over the rows."""
    return cloud[torch.linspace(0, len(cloud) - 1, min(len(cloud), SHOWN)).long()]


def _dress(panel: Any, name: str, labels: list[str], limits: list[list[float]]) -> None:
    panel.set_title(name, fontsize=10)
    for axis, label, low, high in zip("xyz", labels, *limits, strict=False):
        getattr(panel, f"set_{axis}label")(label, fontsize=8)
        pad = 0.05 * (high - low or 1.0)
        getattr(panel, f"set_{axis}lim")(low - pad, high + pad)
    if len(labels) == 3:
        panel.set_box_aspect([high - low or 1.0 for low, high in zip(*limits, strict=True)])
    else:
        panel.set_aspect("equal")


def _matplotlib() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("pictures need matplotlib; install topogen[report]") from error
    return Figure, FigureCanvasAgg
