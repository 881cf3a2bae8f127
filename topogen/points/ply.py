"""ply, the Stanford polygon format (Turk 1994): a text header of elements with counts and properties, then their data.

The header is checked first: count x least bytes per element must fit in the file, whatever the format. ASCII data are read line by line,
binary data as one record array per element, so all polygons of a binary file need the same number of corners: a file that mixes them is
refused, not misread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from topogen.errors import FileFormatError
from topogen.points.polygons import Line, Polygons, integers, text_lines

__all__ = ["Header", "read_ply"]

_NUMPY = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
_NUMPY |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "int64": "i8", "uint64": "u8"}
_NUMPY |= {"float32": "f4", "float64": "f8"}
_SIZES = {name: np.dtype(kind).itemsize for name, kind in _NUMPY.items()}
_FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")
_CORNERS = ("vertex_indices", "vertex_index")
_LONGEST_HEADER = 1 << 16
_ADVICE = "triangulate the mesh or write it as ASCII ply"

Array = np.ndarray[Any, Any]


@dataclass
class Element:
    """One element of the header: its properties as name -> (type of the value, type of the list's length or None)."""

    name: str
    count: int
    properties: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def least_bytes(self, ascii_text: bool) -> int:
        """The fewest bytes one of them takes: each value one digit and a separator, each list empty."""
        if ascii_text:
            return 2 * len(self.properties)
        return sum(_SIZES[length or value] for value, length in self.properties.values())


@dataclass
class Header:
    """A checked header: data format, elements in file order, bytes and lines up to the data."""

    format: str
    elements: list[Element]
    n_bytes: int
    n_lines: int


def read_ply(handle: BinaryIO, size: int, max_points: int) -> tuple[Array, Array]:
    """Vertices (v, 3) and triangles (m, 3), m = 0 where there are none, of an open ply file. Raises FileFormatError."""
    header = _read_header(handle)
    _check_promises(header, size, max_points)
    if header.format != "ascii":
        return _read_binary(header, handle, size)
    polygons = Polygons(max_points)
    _read_text(header, text_lines(handle, start=header.n_lines), polygons)
    return polygons.arrays()


def _read_header(handle: BinaryIO) -> Header:
    elements: list[Element] = []
    data_format, n_lines = "", 0
    for n_lines, line in enumerate(iter(lambda: handle.readline(_LONGEST_HEADER), b""), 1):
        words = line.decode("ascii", errors="replace").split()
        keyword = words[0] if words else ""
        if keyword == "end_header":
            _check_filled(elements)
            break
        if handle.tell() >= _LONGEST_HEADER:
            raise FileFormatError(f"no end_header within {_LONGEST_HEADER} bytes")
        if keyword == "format" and len(words) == 3 and words[1] in _FORMATS and not data_format:
            data_format = words[1]
        elif keyword == "element":
            _check_filled(elements)
            elements.append(_element(words, n_lines, elements))
        elif keyword == "property" and elements:
            _add_property(elements[-1], words, n_lines)
        elif keyword not in ("comment", "obj_info", "ply") or (keyword == "ply") != (n_lines == 1):
            raise FileFormatError(f"line {n_lines}: {' '.join(words)[:60]!r} is not expected in a ply header")
    else:
        raise FileFormatError("the header has no end_header")
    if not data_format:
        raise FileFormatError("the header names no format")
    return Header(data_format, elements, handle.tell(), n_lines)


def _check_filled(elements: list[Element]) -> None:
    if elements and not elements[-1].properties:
        raise FileFormatError(f"the header promises {elements[-1].count} of {elements[-1].name!r} without properties")


def _element(words: list[str], line: int, before: list[Element]) -> Element:
    if len(words) != 3 or not words[2].isdecimal() or len(words[2]) > 15 or words[1] in (element.name for element in before):
        raise FileFormatError(f"line {line}: expected a new element and its count, found {' '.join(words)[:60]!r}")
    return Element(words[1], int(words[2]))


def _add_property(element: Element, words: list[str], line: int) -> None:
    kinds = words[2:4] if words[1:2] == ["list"] else words[1:2]
    fits = len(words) == (5 if words[1:2] == ["list"] else 3) and all(kind in _NUMPY for kind in kinds)
    if not fits or words[-1] in element.properties or (len(kinds) == 2 and _NUMPY[kinds[0]].startswith("f")):
        raise FileFormatError(f"line {line}: expected a new property of a known type, found {' '.join(words)[:60]!r}")
    element.properties[words[-1]] = (kinds[-1], kinds[0] if len(kinds) == 2 else None)


def _check_promises(header: Header, size: int, max_points: int) -> None:
    elements = {element.name: element for element in header.elements}
    _check_vertices(elements.get("vertex", Element("vertex", 0)), max_points)
    if "tristrips" in elements:
        raise FileFormatError("triangle strips are not read; write the mesh with faces")
    if "face" in elements and elements["face"].count and not any(elements["face"].properties.get(name, ("", None))[1] for name in _CORNERS):
        raise FileFormatError("the faces have no list property vertex_indices")
    ascii_text = header.format == "ascii"
    promised = sum(element.count * element.least_bytes(ascii_text) for element in header.elements)
    held = size - header.n_bytes
    if promised > held + ascii_text:
        counts = ", ".join(f"{element.count} {element.name}" for element in header.elements)
        raise FileFormatError(f"the header promises {counts}, at least {promised} bytes; the file holds {held}")


def _check_vertices(vertices: Element, max_points: int) -> None:
    if not {"x", "y", "z"} <= vertices.properties.keys():
        raise FileFormatError("the header has no element `vertex` with the properties x, y, z")
    if any(length for _, length in vertices.properties.values()):
        raise FileFormatError("vertices with list properties are not read; write the cloud with x, y, z alone")
    if vertices.count > max_points:
        raise FileFormatError(f"{vertices.count} vertices, above the limit max_points={max_points}; simplify the mesh or raise the limit")


def _read_text(header: Header, lines: Iterator[Line], polygons: Polygons) -> None:
    for element in header.elements:
        for _ in range(element.count):
            line, tokens = next(lines, (0, []))
            if not tokens:
                raise FileFormatError(f"the file ends before its {element.count} of {element.name!r} are complete")
            _read_item(element, tokens, line, polygons)
    for line, _ in lines:
        raise FileFormatError(f"line {line}: more lines than the elements that the header promises")


def _read_item(element: Element, tokens: list[bytes], line: int, polygons: Polygons) -> None:
    if element.name == "vertex":
        if len(tokens) != len(element.properties):
            raise FileFormatError(f"line {line}: a vertex of {len(tokens)} numbers, the header promises {len(element.properties)}")
        names = list(element.properties)
        polygons.add_vertex([tokens[names.index(axis)] for axis in "xyz"], line)
    elif element.name == "face":
        polygons.add_polygon(_corners(element, tokens, line), line)


def _corners(element: Element, tokens: list[bytes], line: int) -> list[int]:
    position, corners = 0, []
    for name, (_, length) in element.properties.items():
        start = position + 1
        position = start if length is None else start + _list_length(tokens, position, line)
        if length is not None and name in _CORNERS:
            corners = integers(tokens[start:position], line)
    if position != len(tokens):
        raise FileFormatError(f"line {line}: a face of {len(tokens)} numbers, its properties ask for {position}")
    return corners


def _list_length(tokens: list[bytes], position: int, line: int) -> int:
    found = integers(tokens[position : position + 1], line)
    if not found or found[0] < 0:
        raise FileFormatError(f"line {line}: a list without a length")
    return found[0]


def _read_binary(header: Header, handle: BinaryIO, size: int) -> tuple[Array, Array]:
    vertices, faces = np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)
    for element in header.elements:
        data = _read_records(element, ">" if header.format == "binary_big_endian" else "<", handle, size)
        if element.name == "vertex":
            vertices = np.stack([data[axis] for axis in "xyz"], axis=1, dtype=np.float64, casting="unsafe")
        elif element.name == "face" and element.count:
            faces = _fans(next(data[name] for name in _CORNERS if name in element.properties))
    if handle.read(1):
        raise FileFormatError("the file holds more bytes than the elements that the header promises")
    return vertices, faces


def _read_records(element: Element, order: str, handle: BinaryIO, size: int) -> Array:
    start = handle.tell()
    record, lengths = _record(element, order, handle, size)
    handle.seek(start)
    if element.count * record.itemsize > size - start:
        raise FileFormatError(f"the {element.count} of {element.name!r} need {element.count * record.itemsize} bytes, {size - start} are left; {_ADVICE}")
    data = np.fromfile(handle, dtype=record, count=element.count)
    for name, length in lengths.items():
        if bool((data[f"{name} count"] != length).any()):
            raise FileFormatError(f"the lists of {name!r} differ in length; {_ADVICE}")
    return data


def _record(element: Element, order: str, handle: BinaryIO, size: int) -> tuple[np.dtype[Any], dict[str, int]]:
    # The first record says how long the lists are; that the others agree is checked afterwards.
    start = handle.tell()
    fields: list[Any] = []
    lengths: dict[str, int] = {}
    for name, (value, count) in element.properties.items():
        if count is None:
            fields.append((name, order + _NUMPY[value]))
            continue
        handle.seek(start + np.dtype(fields).itemsize)
        first = np.frombuffer(handle.read(_SIZES[count]), dtype=order + _NUMPY[count]) if element.count else np.zeros(1, dtype=np.uint8)
        lengths[name] = _in_range(int(first[0]), size)
        fields += [(f"{name} count", order + _NUMPY[count]), (name, order + _NUMPY[value], (lengths[name],))]
    return np.dtype(fields), lengths


def _in_range(length: int, size: int) -> int:
    if not 0 <= length <= size:
        raise FileFormatError(f"a list promises {length} entries, the file holds {size} bytes")
    return length


def _fans(corners: Array) -> Array:
    if corners.shape[1] < 3:
        raise FileFormatError(f"faces with {corners.shape[1]} corners, expected at least 3")
    if corners.dtype.kind == "f":
        raise FileFormatError("the faces name vertices by floating numbers, expected integers")
    second = range(1, corners.shape[1] - 1)
    return np.concatenate([corners[:, [0, i, i + 1]].astype(np.int64) for i in second])
