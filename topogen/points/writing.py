"""Clouds and meshes to disk: the old file or the new one, never half of one.

The bytes go to a temporary file in the same folder, are flushed to the disk (fsync) and take the name by os.replace, which is atomic;
the folder is flushed too. Every format but stl (float32 by definition) is read back to the same bits: text has 17 significant digits.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points.checking import as_points
from topogen.points.screening import local_path, suffix_of

__all__ = ["write"]

Array = np.ndarray[Any, Any]
_DIGITS = "%.17g"
_WITH_FACES = ("npz", "ply", "off", "obj", "stl")
_SPATIAL = ("ply", "off", "obj", "stl")


def write(path: str | os.PathLike[str], points: Any, faces: Any = None) -> None:
    """Write a cloud (n, D), or with `faces` (m, 3) a triangle mesh, in the format of the suffix: npy npz csv tsv xyz ply off obj stl.

    ply, off, obj and stl need D = 3, stl needs faces and keeps float32; faces go into npz (key `faces`) and the mesh formats only.
    Raises FileFormatError for an unknown suffix, a combination the format does not hold and a disk that refuses, InvalidInputError for
    points that `as_points` refuses and faces that do not name them. After any of them the old file is as it was.
    """
    target = local_path(path)
    suffix = suffix_of(target)
    cloud = as_points(points).cpu().numpy()
    triangles = None if faces is None else _as_faces(faces, len(cloud))
    _check_format(target, suffix, cloud, triangles)
    try:
        with _atomic(target) as handle:
            _WRITERS[suffix](handle, cloud, triangles)
    except OSError as error:
        raise FileFormatError(f"{target}: cannot be written: {error.strerror or error}") from error


def _as_faces(faces: Any, n_points: int) -> Array:
    array = np.asarray(faces.detach().cpu() if isinstance(faces, torch.Tensor) else faces)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 3 or len(array) == 0:
        raise InvalidInputError(f"faces: expected integers of shape (m, 3), found {array.dtype} of shape {array.shape}")
    if int(array.min()) < 0 or int(array.max()) >= n_points:
        raise InvalidInputError(f"faces: indices {int(array.min())} to {int(array.max())} do not all name one of the {n_points} points (counted from 0)")
    return array.astype(np.int64)


def _check_format(target: Path, suffix: str, cloud: Array, faces: Array | None) -> None:
    if suffix in _SPATIAL and cloud.shape[1] != 3:
        raise FileFormatError(f"{target}: {suffix} holds points of R^3, found {cloud.shape[1]} columns; write npy or csv")
    if faces is None and suffix == "stl":
        raise FileFormatError(f"{target}: stl holds triangles only, give faces= or write ply")
    if faces is not None and suffix not in _WITH_FACES:
        raise FileFormatError(f"{target}: {suffix} holds no faces; write one of {', '.join(_WITH_FACES)}")
    if suffix == "stl" and float(np.abs(cloud).max()) > float(np.finfo(np.float32).max):
        raise FileFormatError(f"{target}: stl keeps float32, which does not hold {np.abs(cloud).max():g}; write ply")
    if suffix == "ply" and max(len(cloud), 0 if faces is None else len(faces)) > np.iinfo(np.int32).max:
        raise FileFormatError(f"{target}: ply indices are 32 bits; write npz")


@contextlib.contextmanager
def _atomic(target: Path) -> Iterator[BinaryIO]:
    # A link keeps pointing to what it names; the new content goes there.
    final = Path(os.path.realpath(target))
    if final.is_dir():
        raise IsADirectoryError(21, "is a folder, expected a file name")
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if final.exists():
            shutil.copymode(final, temporary)
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(final.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_npy(handle: BinaryIO, cloud: Array, faces: Array | None) -> None:
    np.save(handle, np.ascontiguousarray(cloud), allow_pickle=False)


def _write_npz(handle: BinaryIO, cloud: Array, faces: Array | None) -> None:
    np.savez(handle, allow_pickle=False, **({"points": cloud} if faces is None else {"points": cloud, "faces": faces}))


def _write_table(delimiter: str) -> Callable[[BinaryIO, Array, Array | None], None]:
    def write_table(handle: BinaryIO, cloud: Array, faces: Array | None) -> None:
        np.savetxt(handle, cloud, fmt=_DIGITS, delimiter=delimiter)

    return write_table


def _write_ply(handle: BinaryIO, cloud: Array, faces: Array | None) -> None:
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud)}", *(f"property double {axis}" for axis in "xyz")]
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    handle.write("\n".join([*header, "end_header", ""]).encode())
    handle.write(cloud.astype("<f8").tobytes())
    if faces is not None:
        polygons = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", (3,))])
        polygons["count"], polygons["corners"] = 3, faces
        handle.write(polygons.tobytes())


def _write_off(handle: BinaryIO, cloud: Array, faces: Array | None) -> None:
    handle.write(f"OFF\n{len(cloud)} {0 if faces is None else len(faces)} 0\n".encode())
    np.savetxt(handle, cloud, fmt=_DIGITS)
    if faces is not None:
        np.savetxt(handle, faces, fmt="3 %d %d %d")


def _write_obj(handle: BinaryIO, cloud: Array, faces: Array | None) -> None:
    np.savetxt(handle, cloud, fmt=" ".join(["v", *[_DIGITS] * 3]))
    if faces is not None:
        np.savetxt(handle, faces + 1, fmt="f %d %d %d")


def _write_stl(handle: BinaryIO, cloud: Array, faces: Array | None) -> None:
    import trimesh

    handle.write(trimesh.exchange.stl.export_stl(trimesh.Trimesh(cloud, faces, process=False)))


_WRITERS: dict[str, Callable[[BinaryIO, Array, Array | None], None]] = {
    "npy": _write_npy,
    "npz": _write_npz,
    "csv": _write_table(","),
    "tsv": _write_table("\t"),
    "xyz": _write_table(" "),
    "ply": _write_ply,
    "off": _write_off,
    "obj": _write_obj,
    "stl": _write_stl,
}
