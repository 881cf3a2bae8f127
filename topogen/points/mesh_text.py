"""The text formats of meshes: off (Geomview), obj (Wavefront) and stl in ASCII (3D Systems), read line by line.

Only geometry is taken: no material, texture or other file that a mesh names is ever opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from topogen.errors import FileFormatError
from topogen.points.polygons import Line, Polygons, integers, numbers, text_lines

__all__ = ["read_obj", "read_off", "read_stl_text"]

_OBJ_IGNORED = frozenset(
    b"vt vn vp p l g o s mg usemtl mtllib usemap maplib cstype deg bmat step curv curv2 surf parm trim hole scrv sp end con bevel c_interp d_interp"
    b" lod shadow_obj trace_obj ctech stech".split()
)
_STL_IGNORED = frozenset((b"outer", b"endloop", b"solid"))


def read_off(handle: BinaryIO, size: int, polygons: Polygons) -> None:
    """OFF and COFF: the counts v, f, then v vertices, then f polygons by index; colours are skipped."""
    lines = text_lines(handle, b"#")
    n_vertices, n_faces = _off_counts(lines, size)
    for _ in range(n_vertices):
        line, tokens = _next(lines, "vertices", n_vertices)
        polygons.add_vertex(tokens[:3], line)
    for _ in range(n_faces):
        line, tokens = _next(lines, "faces", n_faces)
        polygons.add_polygon(_counted(tokens, line), line)
    for line, _ in lines:
        raise FileFormatError(f"line {line}: more lines than the {n_vertices} vertices and {n_faces} faces that the header promises")


def _off_counts(lines: Iterator[Line], size: int) -> tuple[int, int]:
    line, tokens = _next(lines, "header", 1)
    if tokens[0] not in (b"OFF", b"COFF"):
        raise FileFormatError(f"line {line}: expected OFF, found {tokens[0][:20]!r}; only three-dimensional text OFF and COFF are read")
    if len(tokens) == 1:
        line, tokens = _next(lines, "counts", 1)
        tokens.insert(0, b"OFF")
    counts = integers(tokens[1:], line)
    if len(counts) not in (2, 3) or min(counts) < 0:
        raise FileFormatError(f"line {line}: expected the counts of vertices, faces and edges, found {b' '.join(tokens[1:])[:60]!r}")
    # The shortest lines are "0 0 0" and "3 0 0 0", each with an end that the last one may lack.
    if 6 * counts[0] + 8 * counts[1] > size + 1:
        raise FileFormatError(f"the header promises {counts[0]} vertices and {counts[1]} faces, more than {size} bytes can hold")
    return counts[0], counts[1]


def _next(lines: Iterator[Line], what: str, promised: int) -> Line:
    found = next(lines, None)
    if found is None:
        raise FileFormatError(f"the file ends before its {what} ({promised} promised) are complete")
    return found


def _counted(tokens: list[bytes], line: int) -> list[int]:
    count = integers(tokens[:1], line)[0]
    if not 0 <= count < len(tokens):
        raise FileFormatError(f"line {line}: a face promises {count} corners and lists {len(tokens) - 1}")
    return integers(tokens[1 : count + 1], line)


def read_obj(handle: BinaryIO, polygons: Polygons) -> None:
    """OBJ: `v x y z` and `f i j k ...` with indices counted from 1, or from the last vertex backwards when negative."""
    for line, tokens in _continued(text_lines(handle, b"#")):
        if tokens[0] == b"v":
            polygons.add_vertex(_obj_vertex(tokens, line), line)
        elif tokens[0] in (b"f", b"fo"):
            polygons.add_polygon(_obj_corners(tokens[1:], polygons.n_vertices, line), line)
        elif tokens[0] not in _OBJ_IGNORED:
            raise FileFormatError(f"line {line}: unknown statement {tokens[0][:20]!r} in an obj file")


def _continued(lines: Iterator[Line]) -> Iterator[Line]:
    for line, tokens in lines:
        while tokens[-1].endswith(b"\\"):
            tokens[-1] = tokens[-1][:-1]
            tokens = [token for token in tokens if token] + _next(lines, "continued lines", 1)[1]
        yield line, tokens


def _obj_vertex(tokens: list[bytes], line: int) -> list[bytes]:
    # x y z, then perhaps a weight or a colour.
    if len(tokens) not in (4, 5, 7, 8):
        raise FileFormatError(f"line {line}: a vertex of {len(tokens) - 1} numbers, expected 3")
    numbers(tokens[4:], line)
    return tokens[1:4]


def _obj_corners(tokens: list[bytes], n_vertices: int, line: int) -> list[int]:
    indices = integers([token.partition(b"/")[0] for token in tokens], line)
    if 0 in indices:
        raise FileFormatError(f"line {line}: a face names vertex 0, obj counts from 1")
    return [index - 1 if index > 0 else n_vertices + index for index in indices]


def read_stl_text(handle: BinaryIO, polygons: Polygons) -> None:
    """ASCII STL: three `vertex x y z` between `facet` and `endfacet`, solids closed by `endsolid`."""
    closed, corners = True, 0
    for line, tokens in text_lines(handle):
        word = tokens[0].lower()
        if word == b"vertex":
            polygons.add_vertex(tokens[1:], line)
        elif word == b"facet":
            corners, closed = polygons.n_vertices, False
        elif word == b"endfacet":
            polygons.add_polygon(range(corners, polygons.n_vertices), line)
        elif word in (b"endsolid", b"end"):
            closed = True
        elif word not in _STL_IGNORED:
            raise FileFormatError(f"line {line}: unknown statement {tokens[0][:20]!r} in an ASCII stl file")
    if not closed:
        raise FileFormatError("the file ends before `endsolid`; it is torn")
