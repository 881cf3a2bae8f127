"""Meshes as vertices and triangles, whatever the file: ply, off, obj, stl.

Read by our own readers (`polygons` says why) but for binary stl, which is trimesh's once its count agrees with the file. Every index must
name a vertex, every vertex must be finite.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from topogen.errors import FileFormatError
from topogen.points.checking import as_points
from topogen.points.mesh_text import read_obj, read_off, read_stl_text
from topogen.points.ply import read_ply
from topogen.points.polygons import Polygons

__all__ = ["MESHES", "load_mesh"]

MESHES = ("ply", "off", "obj", "stl")

_STL_HEADER = 84
_STL_TRIANGLE = 50


def load_mesh(handle: BinaryIO, suffix: str, max_points: int) -> tuple[Tensor, Tensor]:
    """Vertices (v, 3) float64 and triangles (m, 3) int64, m = 0 for a bare cloud, of an open file of one of `MESHES`.

    Polygons become fans. Raises FileFormatError for torn files, missing indices and more than `max_points` vertices, InvalidInputError
    for vertices that are not finite.
    """
    size = os.fstat(handle.fileno()).st_size
    vertices, faces = _arrays(handle, suffix, size, max_points)
    if len(vertices) == 0:
        raise FileFormatError("the file holds no vertices")
    if len(faces) and (int(faces.min()) < 0 or int(faces.max()) >= len(vertices)):
        raise FileFormatError(f"a face names vertex {int(faces.max())} or {int(faces.min())} (from 0), and the file holds {len(vertices)} vertices")
    return as_points(vertices, name="vertices"), torch.from_numpy(np.ascontiguousarray(faces, dtype=np.int64))


def _arrays(handle: BinaryIO, suffix: str, size: int, max_points: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    if suffix == "ply":
        return read_ply(handle, size, max_points)
    if suffix == "stl" and _is_binary_stl(handle, size):
        return _read_stl_binary(handle, size, max_points)
    polygons = Polygons(max_points)
    if suffix == "off":
        read_off(handle, size, polygons)
    else:
        {"obj": read_obj, "stl": read_stl_text}[suffix](handle, polygons)
    return polygons.arrays()


def _is_binary_stl(handle: BinaryIO, size: int) -> bool:
    head = handle.read(512)
    handle.seek(0)
    if size >= _STL_HEADER and size == _STL_HEADER + _STL_TRIANGLE * _stl_count(head):
        return True
    if head.lstrip()[:5].lower() == b"solid" and b"\0" not in head:
        return False
    promised = f"promises {_stl_count(head)} triangles" if size >= _STL_HEADER else "is shorter than its header"
    raise FileFormatError(f"neither ASCII stl (no `solid`) nor binary: it {promised}, and the file holds {size} bytes")


def _stl_count(head: bytes) -> int:
    return int.from_bytes(head[_STL_HEADER - 4 : _STL_HEADER], "little")


def _read_stl_binary(handle: BinaryIO, size: int, max_points: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from trimesh.exchange.stl import load_stl_binary

    n_vertices = 3 * ((size - _STL_HEADER) // _STL_TRIANGLE)
    if n_vertices > max_points:
        raise FileFormatError(f"{n_vertices} vertices, above the limit max_points={max_points}; simplify the mesh or raise the limit")
    if n_vertices == 0:
        raise FileFormatError("the file holds no triangles")
    loaded = load_stl_binary(handle)
    return np.asarray(loaded["vertices"]), np.asarray(loaded["faces"])
