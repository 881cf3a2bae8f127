"""The side of a triangle mesh: a finite complex, whose homology is computed and not inferred.

Vertices with the same coordinates are one, triangles without area in the complex (a vertex twice) and double ones are dropped. A complex in which every edge is
in two triangles and the triangles around every vertex form one ring is a closed surface, which its Betti numbers over Z/2 and an odd field name.
Munkres (1984), Elements of Algebraic Topology, sections 1 and 10; Hatcher (2002), Algebraic Topology, section 3.3.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points import read_mesh
from topogen.points.mesh_files import MESHES
from topogen.verification.claims import make_claim
from topogen.verification.evidence.betti_evidence import BettiEvidence

__all__ = ["as_mesh", "mesh_evidence"]

Faces = NDArray[np.int64]


def as_mesh(value: Any) -> tuple[Tensor, Tensor] | None:
    """Vertices (v, 3) float64 and faces (f, 3) int64 of a mesh, or of a file that holds faces; None for anything else."""
    if isinstance(value, (str, os.PathLike)) and str(value).lower().endswith(tuple(f".{suffix}" for suffix in MESHES)) and os.path.isfile(value):
        try:
            value = read_mesh(value)
        except FileFormatError:  # a cloud, or nothing: whoever reads it as a cloud will tell
            return None
    vertices, faces = (getattr(value, name, None) for name in ("vertices", "faces"))
    if vertices is None or faces is None:
        return None
    return torch.as_tensor(np.array(vertices), dtype=torch.float64), torch.as_tensor(np.array(faces), dtype=torch.int64)


def mesh_evidence(name: str, vertices: Tensor, faces: Tensor, fields: Sequence[int]) -> BettiEvidence:
    """The side called `name` of a mesh with vertices (v, 3) and faces (f, 3) of row numbers, proved; raises InvalidInputError where no triangle is left."""
    triangles, count = _complex(vertices, faces)
    if not len(triangles):
        raise InvalidInputError(
            f"{name}: none of the {len(faces)} faces is a triangle with three different corners; leave the faces out to verify the vertices"
        )
    betti = _betti(triangles, fields)
    once, more, rings = _edges_and_links(triangles)
    closed = not once and not more and rings == count
    text = f"{name} is a closed surface: each edge in two triangles, one ring of triangles around each vertex"
    bound = "" if closed else f"{once} edges in one triangle, {more} in more than two; {rings - count} vertices with another ring too many"
    facts = {"vertices": count, "triangles": len(triangles), "boundary_edges": once, "crowded_edges": more}
    odd = next((numbers for p, numbers in betti.items() if p != 2), None)
    assumption = "the set is this complex: triangles meet in common edges and corners only"
    orientable = odd[2] == odd[0] if closed and odd is not None else None
    beside = (make_claim("closed surface", text, closed, bound, evidence=facts),)
    return BettiEvidence(name, betti, "proved", True, assumption, "", orientable, 2, closed, closed, evidence=facts, beside=beside)


def _complex(vertices: Tensor, faces: Tensor) -> tuple[Faces, int]:
    """Different triangles (m, 3) with ascending corners, numbered 0 to v - 1 in use, and v."""
    _, same = np.unique(vertices.numpy(), axis=0, return_inverse=True)
    corners = np.sort(same.reshape(-1)[faces.numpy()], axis=1)
    corners = np.unique(corners[(np.diff(corners, axis=1) > 0).all(1)], axis=0)
    used, numbered = np.unique(corners, return_inverse=True)
    return numbered.reshape(-1, 3).astype(np.int64), len(used)


def _betti(triangles: Faces, fields: Sequence[int]) -> dict[int, tuple[int | None, ...]]:
    from gudhi import SimplexTree

    tree = SimplexTree()
    tree.insert_batch(triangles.T, np.zeros(len(triangles)))
    found: dict[int, tuple[int | None, ...]] = {}
    for p in fields:
        tree.compute_persistence(homology_coeff_field=p, persistence_dim_max=True)
        numbers = tree.betti_numbers()
        found[p] = (*numbers, *(0,) * (3 - len(numbers)))
    return found


def _edges_and_links(triangles: Faces) -> tuple[int, int, int]:
    """Edges in one triangle, edges in more than two, and rings: classes of (triangle, corner) that edges at the corner lead across."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    m = len(triangles)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [0, 2]], triangles[:, [1, 2]]])
    # places of the two corners of each edge in the flattened triangles
    places = np.concatenate([3 * np.arange(m)[:, None] + pair for pair in ([0, 1], [0, 2], [1, 2])])
    _, edge, uses = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(edge.reshape(-1), kind="stable")
    together = np.diff(edge.reshape(-1)[order]) == 0
    first, second = places[order[:-1][together]].reshape(-1), places[order[1:][together]].reshape(-1)
    rings, _ = connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(3 * m, 3 * m)), directed=False)
    return int((uses == 1).sum()), int((uses > 2).sum()), int(rings)
