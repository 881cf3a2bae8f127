"""What counts as a point cloud, its different points, and some of them evenly over the rows or at random."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from topogen.errors import InvalidInputError

__all__ = [
    "LOCAL_ROWS", "by_radius", "check_cloud", "check_magnitude", "check_scale", "distinct_rows", "even_rows", "first_occurrences", "random_rows",
]  # fmt: skip

LARGEST, SMALLEST = 1e150, 1e-140
# Up to so many rows local statistics are taken at every one, above at so many drawn at random: their quantiles are then known to a few thousandths.
LOCAL_ROWS = 20_000


def check_cloud(points: Tensor, least: int = 1, name: str = "points") -> None:
    """Raise InvalidInputError unless the argument `name` is a finite floating (n, D) tensor of at least `least` rows (gudhi must never see a NaN)."""
    if not torch.is_tensor(points) or not torch.is_floating_point(points) or points.ndim != 2 or points.shape[1] < 1:
        found = f"{points.dtype} of shape {tuple(points.shape)}" if torch.is_tensor(points) else type(points).__name__
        raise InvalidInputError(f"{name}: expected a floating tensor of shape (n, D), found {found}; convert with torch.as_tensor({name}, dtype=torch.float64)")
    if points.is_meta or points.layout != torch.strided:
        raise InvalidInputError(f"{name}: expected a dense tensor with values, found {'a meta tensor' if points.is_meta else points.layout}; use to_dense()")
    bad = ~torch.isfinite(points.detach()).all(1)
    if bool(bad.any()):
        raise InvalidInputError(f"{name}: {int(bad.sum())} of {len(points)} rows are not finite (first: row {int(bad.nonzero()[0])}); remove them first")
    check_magnitude(points, name)
    if len(points) < least:
        raise InvalidInputError(f"{name}: found {len(points)} points, need at least {least}")


def check_magnitude(points: Tensor, name: str = "points") -> None:
    """Raise InvalidInputError where coordinates (n, D) are above 1e150, so that their squares are no float64 any more."""
    if not len(points):
        return
    largest = float(points.detach().abs().max())
    if largest > LARGEST:
        raise InvalidInputError(f"{name}: coordinates up to {largest:.3g}, whose squares are no numbers any more; choose a larger unit of length")


def check_scale(points: Tensor, name: str = "points") -> None:
    """`check_magnitude`, and the same for differences that are too small: below 1e-140 (points that are all one are no matter of scale)."""
    check_magnitude(points, name)
    spread = float((points.detach() - points[:1].detach()).abs().max()) if len(points) else 0.0
    if 0 < spread < SMALLEST:
        raise InvalidInputError(f"{name}: no two rows differ by more than {spread:.3g}, whose square is no number any more; choose a smaller unit of length")


def distinct_rows(points: Tensor) -> Tensor:
    """The different rows of points (n, D) in lexicographic order, as `torch.unique` gives them; much faster where the first column alone tells them apart."""
    order = points[:, 0].argsort()
    first = points[order, 0]
    return points[order] if bool((first[1:] > first[:-1]).all()) else torch.unique(points, dim=0)


def by_radius(points: Tensor) -> Tensor:
    """The rows of points (n, D) by their distance from the mean, so that what is drawn by row number is the same for a rotated cloud, up to ties."""
    return points[(points - points.mean(0)).norm(dim=1).argsort(stable=True)]


def first_occurrences(points: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (m,) int64, ascending, at which the different rows of finite points (n, D) first occur, and how often (m,) each occurs in all."""
    # Adding 0.0 turns -0.0 into 0.0; after it, finite rows are equal exactly where their bytes are, and bytes sort fast.
    rows = np.ascontiguousarray(points.detach().cpu().numpy() + 0.0)
    keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    order = np.argsort(first)
    return torch.from_numpy(first[order]), torch.from_numpy(counts[order])


def even_rows(n: int, most: int) -> Tensor:
    """At most `most` of the row numbers 0 .. n - 1, evenly from the first to the last."""
    return torch.linspace(0, n - 1, min(n, most)).long()


def random_rows(n: int, most: int, generator: torch.Generator | None) -> Tensor:
    """`most` of the row numbers 0 .. n - 1, ascending, every set of them equally likely; all of them, with no number drawn, where they are no more."""
    return torch.arange(n) if n <= most else torch.randperm(n, generator=generator)[:most].sort().values
