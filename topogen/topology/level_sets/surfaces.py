"""What a triangle mesh says about the surface it stands for, and the mesh of an implicit surface in R^3.

Euler's formula chi = V - E + F needs no homology; a closed connected orientable surface has genus g = 1 - chi/2, so mesh and Betti
numbers check each other: chi = b_0 - b_1 + b_2. A zero set learned from data can have sheets far from them (ghosts):
each connected piece of the mesh is compared with the data, and what is far is reported, not dropped.
Measures (watertightness, winding, area, volume) are trimesh's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.geometry.clouds.neighbours import nearest, nearest_distance
from topogen.geometry.clouds.point_clouds import check_cloud
from topogen.geometry.meshing import extract_mesh, grid_of, touches_box
from topogen.manifolds.base import Manifold

if TYPE_CHECKING:
    import trimesh

__all__ = ["Mesh", "Piece", "SurfaceFacts", "mesh_of", "surface_facts"]

_MARGIN = 0.15


@dataclass(frozen=True)
class SurfaceFacts:
    """Facts of a triangle mesh; lengths in data units.

    `euler_characteristic` V - E + F over the vertices in use; `components` connected by edges; `genus` where the mesh is one closed,
    consistently wound component, else None; `watertight`: every edge in exactly two faces; `winding_consistent`; `area`; `volume` enclosed, where
    watertight and consistently wound, else None; `boundary_edges`: edges in one face only.
    """

    euler_characteristic: int
    components: int
    genus: int | None
    watertight: bool
    winding_consistent: bool
    area: float
    volume: float | None
    boundary_edges: int

    def to_text(self) -> str:
        """One line in words."""
        closed = "closed (watertight)" if self.watertight else f"open ({self.boundary_edges} boundary edges)"
        genus = "" if self.genus is None else f", genus {self.genus}"
        pieces = f"{self.components} component{'s' * (self.components != 1)}"
        return f"{pieces}, {closed}, Euler characteristic {self.euler_characteristic}{genus}, area {self.area:.4g}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True)
class Piece:
    """One connected component of a mesh: number of `faces`, `area`, and the least and mean `distance` of its vertices to the data (data units)."""

    faces: int
    area: float
    nearest: float
    mean: float


@dataclass(frozen=True)
class Mesh:
    """A mesh of a zero set: `vertices` (v, 3) float64, `faces` (f, 3) int64 and the `facts` of all of it.

    `labels` (f,) int64 gives the component of each face, `pieces` describes them, largest area first. `ghosts` are the indices of pieces
    whose vertices are all farther than `tolerance` from the data. `touches_box`: the zero set leaves the box and was cut there.
    """

    vertices: Tensor
    faces: Tensor
    facts: SurfaceFacts
    labels: Tensor
    pieces: tuple[Piece, ...]
    ghosts: tuple[int, ...]
    tolerance: float
    touches_box: bool

    def without_ghosts(self) -> tuple[Tensor, Tensor]:
        """Vertices and faces of the pieces near the data; the caller says that others were left out."""
        keep = ~torch.isin(self.labels, torch.tensor(self.ghosts, dtype=torch.int64))
        used, faces = torch.unique(self.faces[keep], return_inverse=True)
        return self.vertices[used], faces

    def to_text(self) -> str:
        """The facts in words, with ghosts and cuts where there are any."""
        lines = [self.facts.to_text()]
        ghosts = [self.pieces[i] for i in self.ghosts]
        lines += [f"ghost sheet: {p.faces} faces, area {p.area:.3g}, {p.nearest:.3g} from the nearest data point" for p in ghosts]
        return "\n".join(lines + ["the zero set leaves the box and is cut open there"] * self.touches_box)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able summary, without vertices and faces."""
        pieces = [asdict(piece) for piece in self.pieces]
        return {"facts": self.facts.to_dict(), "pieces": pieces, "ghosts": list(self.ghosts), "tolerance": self.tolerance, "touches_box": self.touches_box}


def surface_facts(vertices: Tensor, faces: Tensor) -> SurfaceFacts:
    """Facts of the mesh with vertices (v, 3) floating and faces (f, 3) of row numbers; raises InvalidInputError for anything else.

    A closed mesh of a one-sided surface (which intersects itself in R^3) is watertight but not consistently wound and has no genus here.
    """
    mesh = _trimesh(vertices, faces)
    euler, components = int(mesh.euler_number), int(_vertex_labels(mesh)[0])
    closed = bool(mesh.is_watertight)
    consistent = bool(mesh.is_winding_consistent)
    genus = 1 - euler // 2 if closed and consistent and components == 1 and euler % 2 == 0 else None
    boundary = int((np.bincount(mesh.edges_unique_inverse) == 1).sum())
    volume = abs(float(mesh.volume)) if closed and consistent else None
    return SurfaceFacts(euler, components, genus, closed, consistent, float(mesh.area), volume, boundary)


def mesh_of(manifold: Manifold, points: Tensor, resolution: int = 96, *, tolerance: float | None = None) -> Mesh:
    """The zero set of a one-output constraint in R^3 as a mesh, in the bounding box of the points (n, 3) enlarged by 15 %.

    The zero set is F = 0 itself, not only the part near the data; a piece is a ghost when all of its vertices are farther than `tolerance` from
    the points (data units; None: 3 distances to the sixth neighbour, at 99 % of the points, or 3 cells if that is more).
    Normals point outwards. Raises NotSupportedError for a manifold that is not such a surface, or is gated; InvalidInputError
    where F = 0 does not cross the box.
    """
    _check_meshable(manifold)
    check_cloud(points, 2)
    cloud = points.detach().to(device="cpu", dtype=torch.float64)
    low, high = cloud.amin(0), cloud.amax(0)
    # a flat cloud still needs a box with three sides
    margin = _MARGIN * torch.maximum(high - low, 0.1 * (high - low).max())
    grid = grid_of(low - margin, high + margin, resolution)
    vertices, faces = extract_mesh(
        lambda x: manifold.value(x)[:, 0], grid.lower, grid.upper, max(grid.shape), refine=lambda x: _value_and_gradient(manifold, x), allow_open=True
    )
    limit = tolerance if tolerance is not None else 3 * max(grid.spacing, _largest_gap(cloud))
    return _described(vertices, _outwards(vertices, faces), cloud, limit, touches_box(vertices, grid.lower, grid.upper, grid.spacing / 2))


def _trimesh(vertices: Tensor, faces: Tensor) -> trimesh.Trimesh:
    import trimesh

    if vertices.ndim != 2 or vertices.shape[1] != 3 or not bool(torch.isfinite(vertices).all()):
        raise InvalidInputError(f"vertices: expected finite rows (v, 3), found shape {tuple(vertices.shape)}")
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or torch.is_floating_point(faces):
        raise InvalidInputError(f"faces: expected integer rows (f, 3), at least one, found {faces.dtype} of shape {tuple(faces.shape)}")
    if int(faces.min()) < 0 or int(faces.max()) >= len(vertices):
        raise InvalidInputError(f"faces: row numbers run from {int(faces.min())} to {int(faces.max())}, there are {len(vertices)} vertices")
    return trimesh.Trimesh(vertices.detach().cpu().double().numpy(), faces.detach().cpu().numpy(), process=False)


def _vertex_labels(mesh: trimesh.Trimesh) -> tuple[int, np.ndarray[Any, Any]]:
    """Number of components and a label per vertex in use, components connected by edges (not only across them)."""
    from trimesh.graph import connected_component_labels

    labels = connected_component_labels(mesh.edges, node_count=len(mesh.vertices))  # type: ignore[no-untyped-call]
    _, dense = np.unique(labels[mesh.faces[:, 0]], return_inverse=True)
    return int(dense.max()) + 1, dense


def _check_meshable(manifold: Manifold) -> None:
    way_out = "sample it (topogen.distributions.Uniform), or learn a closed surface with one output"
    if manifold.constraint is None:
        raise NotSupportedError(f"mesh_of: {type(manifold).__name__} has no constraint; sample it instead (topogen.distributions.Uniform)")
    if (manifold.dim, manifold.ambient_dim) != (2, 3):
        raise NotSupportedError(f"mesh_of: meshes are for surfaces in R^3, this one has dimension {manifold.dim} in R^{manifold.ambient_dim}; {way_out}")
    if manifold.outputs != 1:
        raise NotSupportedError(f"mesh_of: the constraint has {manifold.outputs} outputs; marching cubes needs one, of two signs; {way_out}")
    if manifold.gate is not None:
        raise NotSupportedError(f"mesh_of: the manifold has a boundary (gate), which a level set does not know; {way_out}")


def _value_and_gradient(manifold: Manifold, x: Tensor) -> tuple[Tensor, Tensor]:
    value, pull, *_ = torch.func.vjp(manifold.value, x)
    return value[:, 0], pull(torch.ones_like(value))[0]


def _largest_gap(cloud: Tensor) -> float:
    """Largest distance of a data point to its sixth neighbour, outliers (the worst hundredth) aside: the covering radius to expect."""
    k = min(7, len(cloud))
    return float(nearest(cloud, k, cloud)[0][:, -1].quantile(0.99))


def _outwards(vertices: Tensor, faces: Tensor) -> Tensor:
    """The faces with positive enclosed volume: the sign of a learned constraint is arbitrary."""
    a, b, c = vertices[faces].unbind(1)
    return faces if float((a * torch.linalg.cross(b, c)).sum()) >= 0 else faces.flip(1)


def _described(vertices: Tensor, faces: Tensor, cloud: Tensor, tolerance: float, cut: bool) -> Mesh:
    mesh = _trimesh(vertices, faces)
    count, found = _vertex_labels(mesh)
    areas = np.bincount(found, mesh.area_faces, count)
    rank = np.argsort(np.argsort(-areas, kind="stable"), kind="stable")
    labels = torch.as_tensor(rank[found])
    distance = nearest_distance(vertices, cloud)
    pieces = tuple(_piece(i, labels, faces, distance, float(np.sort(areas)[::-1][i])) for i in range(count))
    ghosts = tuple(i for i, piece in enumerate(pieces) if piece.nearest > tolerance)
    return Mesh(vertices, faces, surface_facts(vertices, faces), labels, pieces, ghosts, tolerance, cut)


def _piece(index: int, labels: Tensor, faces: Tensor, distance: Tensor, area: float) -> Piece:
    mine = faces[labels == index]
    away = distance[torch.unique(mine)]
    return Piece(len(mine), area, float(away.min()), float(away.mean()))
