"""npy and npz, with nothing unpickled and nothing allocated before the header is checked against the file.

The header of an npy file names dtype, order and shape; shape x itemsize must be what the file holds. An npz is a zip by nature: its
members must be npy files, stored or deflated, and their declared total must stay within the size limit (zip bombs).
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from typing import IO, Any, BinaryIO

import numpy as np

from topogen.errors import FileFormatError

__all__ = ["read_npy", "read_npz"]

_KEY = "points"
_MEMBERS = 1000


def read_npy(handle: BinaryIO, max_points: int) -> np.ndarray[Any, Any]:
    """The array (n, D) of an npy file, in its own dtype. Raises FileFormatError."""
    return _read_array(handle, os.fstat(handle.fileno()).st_size, max_points)


def read_npz(handle: BinaryIO, max_bytes: int, max_points: int) -> np.ndarray[Any, Any]:
    """The array (n, D) of an npz file: its only member, or the one named `points`. Raises FileFormatError."""
    with zipfile.ZipFile(handle) as archive:
        members = archive.infolist()
        _check_members(members, max_bytes)
        member = _choose(archive, members)
        with archive.open(member) as stream:
            return _read_array(stream, member.file_size, max_points)


def _check_members(members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    if not 0 < len(members) <= _MEMBERS:
        raise FileFormatError(f"the archive has {len(members)} members, expected 1 to {_MEMBERS} arrays")
    for member in members:
        if not member.filename.endswith(".npy"):
            raise FileFormatError(f"the archive holds {member.filename!r}, which is no npy array; write it with numpy.savez")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFormatError(f"the member {member.filename!r} is encrypted or compressed by a method other than numpy's")
    total = sum(member.file_size for member in members)
    if total > max_bytes:
        raise FileFormatError(f"the arrays unpack to {total} bytes, above the limit max_bytes={max_bytes}")


def _choose(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    by_key = {member.filename.removesuffix(".npy"): member for member in members}
    if len(members) == 1 or _KEY in by_key:
        return by_key.get(_KEY, members[0])
    listing = ", ".join(f"{key} {_shape(archive, member)}" for key, member in list(by_key.items())[:20])
    raise FileFormatError(f"{len(members)} arrays and none is called {_KEY!r} (found {listing}); save the cloud alone or under that key")


def _shape(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    with archive.open(member) as stream:
        return str(_read_header(stream)[0])


def _read_array(stream: IO[bytes], size: int, max_points: int) -> np.ndarray[Any, Any]:
    shape, dtype, length = _read_header(stream)
    _check_layout(shape, dtype, max_points)
    promised, held = math.prod(shape) * dtype.itemsize, size - length
    if promised != held:
        raise FileFormatError(f"the header promises {promised} bytes (shape {shape}, dtype {dtype}), the file holds {held}; the file is torn or altered")
    stream.seek(0)
    array: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise FileFormatError(f"npy version {version[0]}.{version[1]} is for records with names beyond ASCII; save a plain 2-D array")
    shape, _, dtype = readers[version](stream)
    return shape, dtype, stream.seek(0, io.SEEK_CUR)


def _check_layout(shape: tuple[int, ...], dtype: np.dtype[Any], max_points: int) -> None:
    if dtype.hasobject:
        raise FileFormatError("the array holds pickled objects, which are never loaded; convert it to float64 and save again")
    if dtype.names is not None or dtype.subdtype is not None:
        raise FileFormatError("the array holds records, expected plain numbers; stack its fields as columns")
    if len(shape) == 2 and shape[0] > max_points:
        raise FileFormatError(f"{shape[0]} points, above the limit max_points={max_points}; thin the cloud or raise the limit")
    if any(extent < 0 for extent in shape):
        raise FileFormatError(f"the header names the negative shape {shape}")
