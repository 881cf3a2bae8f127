"""Level sets of a scalar field in a box of R^3 as triangle meshes.

Marching cubes (Lewiner's variant, topologically consistent) on a cubic grid gives vertices that are second order close to
{f = level}; each is then moved onto it by a few Newton steps along the gradient,

    x  <-  x - (f(x) - level) grad f(x) / |grad f(x)|^2 ,

no step longer than half a cell. What the grid cannot see, features below one cell, the mesh does not have.
Lorensen, Cline (1987), Marching cubes; Lewiner, Lopes, Vieira, Tavares (2003), Efficient implementation of marching cubes' cases with topological guarantees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.errors import InvalidInputError, MissingDependencyError
from topogen.geometry.newton import State, clipped, iterate

__all__ = ["Grid", "extract_mesh", "grid_of", "touches_box"]

_CHUNK = 32_768
_NODES = 50_000_000
_NEWTON_STEPS = 5


class Grid(NamedTuple):
    """A cubic grid: its `lower` corner (3,) float64, its `spacing` (one for all axes) and the number of nodes per axis."""

    lower: Tensor
    spacing: float
    shape: tuple[int, int, int]

    @property
    def upper(self) -> Tensor:
        """The corner (3,) opposite to `lower`."""
        return self.lower + self.spacing * (torch.tensor(self.shape, dtype=torch.float64) - 1)


def extract_mesh(
    field: Callable[[Tensor], Tensor],
    lower: Tensor,
    upper: Tensor,
    resolution: int = 96,
    level: float = 0.0,
    *,
    refine: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
    allow_open: bool = False,
) -> tuple[Tensor, Tensor]:
    """The level set {f = level} in a box as vertices (v, 3) float64 and faces (f, 3) int64, normals along the gradient of f.

    `field` maps (n, 3) float64 to (n,); `resolution` is the number of nodes along the longest side of the box, the others follow with
    the same spacing (the box grows by less than one cell to fit). `refine` maps (n, 3) to f (n,) and its gradient (n, 3); with it the vertices
    are moved onto the level set. `allow_open` accepts a level set that leaves the box, cut open there (`touches_box` tells).
    Raises InvalidInputError for a box or resolution that makes no grid, a field that is not finite, a level set that does not cross the box
    or, without `allow_open`, one that leaves it; MissingDependencyError without scikit-image.
    """
    grid = grid_of(lower, upper, resolution)
    volume = _evaluate(field, grid) - level
    if not bool((volume > 0).any() and (volume < 0).any()):
        raise InvalidInputError(
            f"field: {{f = {level:g}}} does not cross the box (f - level runs from {float(volume.min()):.3g} to {float(volume.max()):.3g} on"
            f" {volume.numel()} nodes); enlarge the box, raise the resolution or change the level"
        )
    if not allow_open and _crosses_faces(volume):
        raise InvalidInputError("lower, upper: the level set touches the faces of the box and would be cut open; enlarge the box, or pass allow_open=True")
    vertices, faces = _marching_cubes(volume, grid)
    return (vertices if refine is None else _refined(refine, vertices, level, grid.spacing)), faces


def grid_of(lower: Tensor, upper: Tensor, resolution: int) -> Grid:
    """The cubic grid that covers the box with `resolution` nodes along its longest side; raises InvalidInputError where there is none."""
    low, high = (torch.as_tensor(corner, dtype=torch.float64).reshape(-1) for corner in (lower, upper))
    if low.shape != (3,) or high.shape != (3,) or not bool((torch.isfinite(low) & torch.isfinite(high) & (high > low)).all()):
        raise InvalidInputError(f"lower, upper: expected two finite corners (3,) with lower < upper, found {low.tolist()} and {high.tolist()}")
    if isinstance(resolution, bool) or not isinstance(resolution, int) or resolution < 4:
        raise InvalidInputError(f"resolution: expected an integer of at least 4 nodes, found {resolution!r}")
    spacing = float((high - low).max()) / (resolution - 1)
    # the small number keeps rounding from adding a layer to a side that fits exactly
    counts = (torch.ceil((high - low) / spacing - 1e-9).long() + 1).clamp_min(2)
    if int(counts.prod()) > _NODES:
        raise InvalidInputError(f"resolution: {resolution} makes {int(counts.prod())} nodes, above {_NODES}; lower it")
    return Grid(low, spacing, (int(counts[0]), int(counts[1]), int(counts[2])))


def touches_box(vertices: Tensor, lower: Tensor, upper: Tensor, tolerance: float) -> bool:
    """Whether any vertex (v, 3) lies within `tolerance` (data units; half a cell will do) of a face of the box."""
    return bool(((vertices - lower <= tolerance) | (upper - vertices <= tolerance)).any())


def _evaluate(field: Callable[[Tensor], Tensor], grid: Grid) -> Tensor:
    axes = [grid.lower[i] + grid.spacing * torch.arange(grid.shape[i], dtype=torch.float64) for i in range(3)]
    nodes = torch.cartesian_prod(*axes)
    with torch.no_grad():
        values = torch.cat([_values(field, part) for part in torch.split(nodes, _CHUNK)])
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise InvalidInputError(f"field: not finite at {bad} of {len(values)} nodes of the grid; shrink the box to where it is defined")
    return values.reshape(grid.shape)


def _values(field: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    values = field(points)
    if values.shape != (len(points),):
        raise InvalidInputError(f"field: expected a map (n, 3) -> (n,), found output {tuple(values.shape)} for input {tuple(points.shape)}; take one output")
    return values.detach().to(device="cpu", dtype=torch.float64)


def _crosses_faces(volume: Tensor) -> bool:
    faces = [volume.select(axis, end) for axis in range(3) for end in (0, -1)]
    signs = torch.cat([face.reshape(-1) for face in faces]) > 0
    return bool(signs.any() and not signs.all())


def _marching_cubes(volume: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    vertices, faces, _, _ = _measure().marching_cubes(_float32(volume), 0.0, gradient_direction="descent", allow_degenerate=False)
    moved = grid.lower + grid.spacing * torch.as_tensor(vertices.copy(), dtype=torch.float64)
    return moved, torch.as_tensor(faces.copy(), dtype=torch.int64)


def _measure() -> Any:
    try:
        from skimage import measure
    except ImportError as error:
        raise MissingDependencyError("extract_mesh needs scikit-image for marching cubes; install it with: pip install 'topogen[report]'") from error
    return measure


def _float32(volume: Tensor) -> Any:
    """The volume as scikit-image takes it, in units of its largest value, no node exactly zero: such nodes make degenerate triangles."""
    scaled = (volume / volume.abs().max()).to(torch.float32)
    tiny = torch.finfo(torch.float32).eps ** 2
    return torch.where(scaled.abs() < tiny, torch.where(volume < 0, -tiny, tiny), scaled).numpy()


def _refined(refine: Callable[[Tensor], tuple[Tensor, Tensor]], vertices: Tensor, level: float, spacing: float) -> Tensor:
    return torch.cat([_newton(refine, part, level, spacing / 2) for part in torch.split(vertices, _CHUNK)])


def _newton(refine: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, level: float, longest: float) -> Tensor:
    """Newton along the gradient; a vertex keeps its best value and never goes farther than `longest` from where the grid put it."""

    def step(x: Tensor, best: Tensor, smallest: Tensor, start: Tensor) -> tuple[State, Tensor]:
        value, gradient = (part.detach() for part in refine(x))
        offset = value - level
        better = (offset.abs() < smallest) & ((x - start).norm(dim=1) <= longest)
        best, smallest = torch.where(better.unsqueeze(1), x, best), torch.where(better, offset.abs(), smallest)
        squared = gradient.square().sum(1).clamp_min(torch.finfo(x.dtype).tiny)
        return (x + clipped(-(offset / squared).unsqueeze(1) * gradient, longest), best, smallest), torch.ones_like(better)

    smallest = torch.full(start.shape[:1], torch.inf, dtype=start.dtype)
    return iterate(step, (start, start, smallest), (start,), max_iterations=_NEWTON_STEPS + 1).state[1]
