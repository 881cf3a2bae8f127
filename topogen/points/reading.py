"""The one way in for files: screened, parsed, checked, turned into coordinates.

screening -> arrays | tables | meshes (sampled by area) -> columns -> as_points -> latitude and longitude or angles
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points.arrays import read_npy, read_npz
from topogen.points.checking import as_points
from topogen.points.columns import Columns, select
from topogen.points.coordinates import from_angles, from_latlon
from topogen.points.mesh_files import MESHES, load_mesh
from topogen.points.screening import local_path, open_screened, parsing, suffix_of
from topogen.points.surface import sample_surface
from topogen.points.tables import read_table

if TYPE_CHECKING:
    import trimesh

__all__ = ["read", "read_mesh"]

_MAX_BYTES = 512 * 2**20
_MAX_POINTS = 10**7
_SAMPLES = 20_000
_AXES = ("x", "y", "z")


def read(
    path: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    header: bool | str = "auto",
    latlon: bool = False,
    angles: bool | str = False,
    vertices: bool = False,
    samples: int | None = None,
    generator: torch.Generator | None = None,
    max_bytes: int = _MAX_BYTES,
    max_points: int = _MAX_POINTS,
) -> Tensor:
    """A cloud (n, D), float64, from a local npy, npz, csv, tsv, xyz, ply, off, obj or stl file.

    `columns` chooses and orders columns: "0,1,2", "x,y,z", "1-3" or a sequence of positions (from 0) and names.
    `header` of a table is "auto" (rows before the first one with a number), True (one row) or False.
    `latlon=True` takes two columns, latitude and longitude in degrees, to the unit sphere; `angles` "radians" (also True) or "degrees"
    takes each column a to cos a, sin a. An npz holds one array, or one called `points`.
    A mesh with faces gives `samples` (20,000) points uniform by area, drawn with `generator` (None: a new one with seed 0, so that a file
    is the same cloud each time); `vertices=True` takes its vertices instead. Limits: `max_bytes` of file and of unpacked npz, `max_points` rows.
    Raises FileFormatError for what cannot be trusted or parsed, InvalidInputError for NaN, infinities and arguments that do not fit.
    """
    source = local_path(path)
    if latlon and angles is not False:
        raise InvalidInputError("latlon, angles: both were given; a column is one or the other")
    _check_positive(max_bytes=max_bytes, max_points=max_points, samples=samples)
    with open_screened(source, max_bytes) as handle, parsing(source):
        suffix = suffix_of(source)
        if suffix in MESHES:
            cloud = _choose(_read_cloud_of_mesh(handle, suffix, vertices, samples, generator, max_points), columns, _AXES)
        elif samples is not None:
            raise InvalidInputError(f"samples: a {suffix} file has no faces to sample; leave it out")
        else:
            cloud = _read_rows(handle, suffix, columns, header, max_bytes, max_points)
        return _to_coordinates(as_points(cloud), latlon, angles)


def read_mesh(path: str | os.PathLike[str], *, max_bytes: int = _MAX_BYTES, max_points: int = _MAX_POINTS) -> trimesh.Trimesh:
    """The triangle mesh of a ply, off, obj or stl file as a `trimesh.Trimesh`, vertices and faces in file order, nothing merged.

    Polygons become fans. Raises FileFormatError for another suffix, for a file without faces and for whatever `read` refuses.
    """
    import trimesh

    source = local_path(path)
    with open_screened(source, max_bytes) as handle, parsing(source):
        suffix = suffix_of(source)
        if suffix not in MESHES:
            raise FileFormatError(f"a {suffix} file holds no mesh; expected one of {', '.join(MESHES)}")
        vertices, faces = load_mesh(handle, suffix, max_points)
        if len(faces) == 0:
            raise FileFormatError("the file holds vertices but no faces; read it as a cloud")
        return trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)


def _check_positive(**limits: int | None) -> None:
    for name, limit in limits.items():
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise InvalidInputError(f"{name}: expected a positive integer, found {limit!r}")


def _read_cloud_of_mesh(handle: BinaryIO, suffix: str, vertices: bool, samples: int | None, generator: torch.Generator | None, max_points: int) -> Tensor:
    points, faces = load_mesh(handle, suffix, max_points)
    if samples is not None and (vertices or len(faces) == 0):
        raise InvalidInputError(f"samples: {'vertices=True takes the vertices' if vertices else 'the file has no faces to sample'}; leave it out")
    if vertices or len(faces) == 0:
        return points
    n = samples or _SAMPLES
    if n > max_points:
        raise FileFormatError(f"{n} samples, above the limit max_points={max_points}")
    return sample_surface(points, faces, n, generator if generator is not None else torch.Generator().manual_seed(0))


def _read_rows(handle: BinaryIO, suffix: str, columns: Columns | None, header: bool | str, max_bytes: int, max_points: int) -> Any:
    if suffix == "npy":
        return _choose(as_points(read_npy(handle, max_points), name="array"), columns, None)
    if suffix == "npz":
        return _choose(as_points(read_npz(handle, max_bytes, max_points), name="array"), columns, None)
    return read_table(handle, suffix, columns, header, max_points)


def _choose(cloud: Tensor, columns: Columns | None, names: tuple[str, ...] | None) -> Tensor:
    return cloud if columns is None else cloud[:, select(columns, cloud.shape[1], names)]


def _to_coordinates(cloud: Tensor, latlon: bool, angles: bool | str) -> Tensor:
    if latlon:
        return from_latlon(cloud)
    return cloud if angles is False else from_angles(cloud, angles)
