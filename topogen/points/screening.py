"""What is refused before any parser sees a byte.

A reader is handed an open file only after this module has looked: local, regular, not empty, within the size limit, of a known suffix,
and not an archive or a compressed stream whatever the suffix says (a 175 kB zip made a mesh parser take 1.25 GB).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from topogen.errors import FileFormatError, InvalidInputError, TopogenError

__all__ = ["SUFFIXES", "local_path", "open_screened", "parsing", "suffix_of"]

SUFFIXES = ("npy", "npz", "csv", "tsv", "xyz", "ply", "off", "obj", "stl")

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_MAGIC = {"npy": b"\x93NUMPY", "npz": b"PK", "ply": b"ply"}
_TEXT = ("csv", "tsv", "xyz", "off", "obj")
_ARCHIVES = (
    (b"PK\x03\x04", "zip archive"),
    (b"PK\x05\x06", "zip archive"),
    (b"PK\x07\x08", "zip archive"),
    (b"\x1f\x8b", "gzip stream"),
    (b"\xfd7zXZ\x00", "xz stream"),
    (b"\x28\xb5\x2f\xfd", "zstd stream"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"Rar!\x1a\x07", "rar archive"),
)
_HEAD = 512


def local_path(path: str | os.PathLike[str]) -> Path:
    """The path as a `Path`; raises InvalidInputError for what is no path, FileFormatError for a URL."""
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidInputError(f"path: expected a file name, found {type(path).__name__}; arrays and tensors are taken by topogen.points.as_points")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInputError(f"path: expected a file name, found {text!r}")
    # Path() folds the two slashes of a URL into one.
    if _REMOTE.match(text):
        raise FileFormatError(f"{text}: remote paths are refused; download the file first")
    return Path(text)


def suffix_of(path: Path) -> str:
    """The lower-case suffix without its dot; raises FileFormatError unless it is one of `SUFFIXES`."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in SUFFIXES:
        raise FileFormatError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    return suffix


@contextlib.contextmanager
def open_screened(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """The open file, positioned at its start, once it has passed every check that needs no parser. Raises FileFormatError."""
    try:
        size = _regular_size(path)
        if size == 0:
            raise FileFormatError(f"{path}: the file is empty")
        if size > max_bytes:
            raise FileFormatError(f"{path}: {size} bytes, above the limit max_bytes={max_bytes}; raise the limit if the file is trusted")
        handle = path.open("rb")
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be opened: {error.strerror or error}") from error
    with handle:
        _check_head(path, handle.read(_HEAD))
        handle.seek(0)
        yield handle


@contextlib.contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Puts the file's name before every message, and turns whatever else a parser raises into a FileFormatError."""
    try:
        yield
    except (FileFormatError, InvalidInputError) as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except TopogenError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or "no reason given"
        raise FileFormatError(f"{path}: cannot be parsed as {path.suffix.lower()}: {reason} ({type(error).__name__})") from error


def _regular_size(path: Path) -> int:
    if not path.exists():
        raise FileFormatError(f"{path}: no such file")
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise FileFormatError(f"{path}: is a folder, expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise FileFormatError(f"{path}: is not a regular file")
    return status.st_size


def _check_head(path: Path, head: bytes) -> None:
    archive = _archive_kind(head)
    if archive and not (path.suffix.lower() == ".npz" and archive == "zip archive"):
        raise FileFormatError(f"{path}: the file is a {archive}; unpack it and pass the file inside")
    suffix = suffix_of(path)
    magic = _MAGIC.get(suffix)
    if magic and not head.startswith(magic):
        raise FileFormatError(f"{path}: does not begin like a .{suffix} file (found {head[:8]!r}); rename it to what it is or write it again")
    if suffix in _TEXT and b"\0" in head:
        raise FileFormatError(f"{path}: holds binary data or UTF-16, expected UTF-8 text")


def _archive_kind(head: bytes) -> str | None:
    if re.match(rb"BZh[1-9]\x31\x41\x59\x26\x53\x59", head):
        return "bzip2 stream"
    if head[257:262] == b"ustar":
        return "tar archive"
    return next((kind for magic, kind in _ARCHIVES if head.startswith(magic)), None)
