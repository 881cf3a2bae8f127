"""What all pictures share: which axes a cloud of R^D is seen along, and how a panel is dressed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from topogen.errors import MissingDependencyError

__all__ = ["dress", "matplotlib_classes", "places", "thin", "view"]

SHOWN = 3000


def matplotlib_classes() -> tuple[Any, Any]:
    """Figure and canvas of matplotlib, which is optional; raises MissingDependencyError without it."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("pictures need matplotlib; install topogen[report]") from error
    return Figure, FigureCanvasAgg


def view(cloud: Tensor) -> tuple[Tensor, Tensor, list[str]]:
    """Centre, axes (D, 1..4) and their names."""
    ambient = cloud.shape[1]
    if ambient <= 3:
        return torch.zeros(ambient, dtype=cloud.dtype), torch.eye(ambient, dtype=cloud.dtype), [f"x{i + 1}" for i in range(ambient)]
    centre = cloud.mean(0)
    axes = torch.linalg.svd(cloud - centre, full_matrices=False).Vh[:4].T
    return centre, axes, [f"principal {i + 1}" for i in range(axes.shape[1])]


def places(cloud: Tensor) -> list[Any]:
    """Where (n, 1..4) is drawn: two or three columns, a missing second one zero."""
    columns = list(cloud.T.numpy())
    return columns[:3] if len(columns) > 1 else [columns[0], 0 * columns[0]]


def thin(cloud: Tensor, most: int = SHOWN) -> Tensor:
    """At most so many points, evenly over the rows."""
    return cloud[torch.linspace(0, len(cloud) - 1, min(len(cloud), most)).long()]


def dress(panel: Any, name: str, labels: list[str], limits: list[list[float]]) -> None:
    """Title, names of the axes and limits (one pair per axis), all axes on one scale."""
    panel.set_title(name, fontsize=10)
    for axis, label, (low, high) in zip("xyz", labels, limits, strict=False):
        getattr(panel, f"set_{axis}label")(label, fontsize=9)
        pad = 0.05 * (high - low or 1.0)
        getattr(panel, f"set_{axis}lim")(low - pad, high + pad)
    panel.tick_params(labelsize=8)
    panel.locator_params(nbins=5)
    if len(labels) == 3:
        panel.set_box_aspect([high - low or 1.0 for low, high in limits], zoom=0.9)
    else:
        panel.set_aspect("equal")
