"""A mesh while it is being read from text: vertices and triangles appended to flat machine arrays.

trimesh's parsers were measured and left aside: a peak of 6 (obj, binary ply), 7 (stl), 14 (ply) and 16 (off) times the file, an ASCII ply
torn in the middle read as a shorter one, index 0 of an obj taken for vertex 1, points of an obj outside of its faces dropped. Flat arrays
need less than the file, and a message can name the line.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from topogen.errors import FileFormatError

__all__ = ["Line", "Polygons", "text_lines"]

Line = tuple[int, list[bytes]]

_LONGEST_LINE = 1 << 22


class Polygons:
    """Collects vertices of R^3 and polygons; polygons with more than three corners become fans around their first."""

    def __init__(self, max_points: int) -> None:
        self._vertices = array("d")
        self._faces = array("q")
        self._max_numbers = 3 * max_points

    @property
    def n_vertices(self) -> int:
        """How many vertices have been added."""
        return len(self._vertices) // 3

    def add_vertex(self, tokens: Sequence[bytes], line: int) -> None:
        """Append the vertex given by three numbers as text."""
        if len(tokens) != 3:
            raise FileFormatError(f"line {line}: a vertex of {len(tokens)} coordinates, expected 3")
        self._vertices.extend(numbers(tokens, line))
        if len(self._vertices) > self._max_numbers:
            raise FileFormatError(f"more vertices than the limit max_points={self._max_numbers // 3}; simplify the mesh or raise the limit")

    def add_polygon(self, corners: Sequence[int], line: int) -> None:
        """Append the fan of a polygon given by indices counted from 0."""
        if len(corners) < 3:
            raise FileFormatError(f"line {line}: a face with {len(corners)} corners, expected at least 3")
        if min(corners) < 0:
            raise FileFormatError(f"line {line}: a face names a vertex before the first")
        for second, third in zip(corners[1:-1], corners[2:], strict=True):
            self._faces.extend((corners[0], second, third))

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Vertices (v, 3) float64 and triangles (m, 3) int64."""
        return np.array(self._vertices, copy=False).reshape(-1, 3), np.array(self._faces, copy=False).reshape(-1, 3)


def text_lines(handle: BinaryIO, comment: bytes = b"", start: int = 0) -> Iterator[Line]:
    """The lines of an open file that hold anything, as (number, tokens); text after `comment` is dropped."""
    for number, line in enumerate(iter(lambda: handle.readline(_LONGEST_LINE), b""), start + 1):
        if len(line) >= _LONGEST_LINE:
            raise FileFormatError(f"line {number} is longer than {_LONGEST_LINE} bytes; this is no mesh")
        tokens = (line.partition(comment)[0] if comment else line).split()
        if tokens:
            yield number, tokens


def numbers(tokens: Sequence[bytes], line: int) -> list[float]:
    """The tokens as floats; raises FileFormatError naming the line."""
    try:
        values = list(map(float, tokens))
    except ValueError as error:
        raise FileFormatError(f"line {line}: {b' '.join(tokens)[:60]!r} are not numbers") from error
    # Python reads 1_0 as 10.
    if any(b"_" in token for token in tokens):
        raise FileFormatError(f"line {line}: {b' '.join(tokens)[:60]!r} are not numbers")
    return values


def integers(tokens: Sequence[bytes], line: int) -> list[int]:
    """The tokens as integers of at most 63 bits; raises FileFormatError naming the line."""
    try:
        values = list(map(int, tokens))
    except ValueError as error:
        raise FileFormatError(f"line {line}: {b' '.join(tokens)[:60]!r} are not integers") from error
    if values and max(map(abs, values)) >= 1 << 62:
        raise FileFormatError(f"line {line}: {b' '.join(tokens)[:60]!r} is out of range")
    return values
