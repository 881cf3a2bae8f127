"""ply in its three encodings, checked against its header before anything is allocated."""

import struct
import tracemalloc

import numpy as np
import pytest
import torch
import trimesh

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points import read, read_mesh, write

VERTICES = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.5], [0.0, 1.0, 0.25]])
HEADER = "element vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
FACES = "element face 2\nproperty list uchar int vertex_indices\n"
ROWS = "0 0 0\n1 0 0\n1 1 0.5\n0 1 0.25\n"


def text(elements=HEADER + FACES, data=ROWS + "3 0 1 2\n3 0 2 3\n"):
    return f"ply\nformat ascii 1.0\ncomment made by hand\n{elements}end_header\n{data}".encode()


def binary(order="<", elements=HEADER + FACES, data=None):
    kind = {"<": "little", ">": "big"}[order]
    if data is None:
        data = VERTICES.astype(order + "f4").tobytes() + b"".join(struct.pack(order + "B3i", 3, *face) for face in ((0, 1, 2), (0, 2, 3)))
    return f"ply\nformat binary_{kind}_endian 1.0\n{elements}end_header\n".encode() + data


@pytest.fixture
def ply(tmp_path):
    def save(content):
        (tmp_path / "mesh.ply").write_bytes(content)
        return tmp_path / "mesh.ply"

    return save


def refused(path, match, kind=FileFormatError, **options):
    with pytest.raises(kind, match=match) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("content", [text(), text().replace(b"\n", b"\r\n"), text().rstrip(), binary("<"), binary(">")])
def test_encodings_agree(ply, content):
    mesh = read_mesh(ply(content))
    assert np.array_equal(mesh.vertices, VERTICES) and mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_agrees_with_trimesh(ply, tmp_path):
    mesh = trimesh.creation.icosphere(subdivisions=2)
    for encoding in ("binary", "ascii"):
        path = ply(trimesh.exchange.ply.export_ply(mesh, encoding=encoding, vertex_normal=True))
        ours = read_mesh(path)
        assert np.array_equal(ours.faces, mesh.faces)
        np.testing.assert_allclose(ours.vertices, mesh.vertices, atol=1e-7)
    write(tmp_path / "ours.ply", mesh.vertices, mesh.faces)
    theirs = trimesh.load_mesh(tmp_path / "ours.ply", process=False)
    assert np.array_equal(theirs.vertices, mesh.vertices) and np.array_equal(theirs.faces, mesh.faces)


def test_vertices_alone_with_other_properties(ply):
    elements = (
        "element vertex 4\nproperty uchar red\nproperty double z\nproperty double y\nproperty double x\nelement face 0\nproperty list uchar int vertex_index\n"
    )
    record = np.zeros(4, dtype=[("red", "u1"), ("z", "<f8"), ("y", "<f8"), ("x", "<f8")])
    for i, axis in enumerate("xyz"):
        record[axis] = VERTICES[:, i]
    rows = "".join(f"7 {z} {y} {x}\n" for x, y, z in VERTICES)
    for content in (binary("<", elements, record.tobytes()), text(elements, rows)):
        assert torch.equal(read(ply(content)), torch.from_numpy(VERTICES))
        refused(ply(content), "no faces to sample", InvalidInputError, samples=5)


def test_polygons_and_other_elements(ply):
    elements = (
        HEADER + "element edge 1\nproperty int vertex1\nproperty int vertex2\n"
        "element face 2\nproperty uchar flag\nproperty list uchar int vertex_index\nproperty float q\n"
    )
    mixed = ROWS + "0 1\n1 4 0 1 2 3 0.5\n1 3 0 1 2 0.5\n"
    assert read_mesh(ply(text(elements, mixed))).faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    quad = VERTICES.astype("<f4").tobytes() + struct.pack("<2i", 0, 1) + struct.pack("<BB4if", 1, 4, 0, 1, 2, 3, 0.5) * 2
    assert len(read_mesh(ply(binary("<", elements, quad))).faces) == 4


def test_binary_with_mixed_polygons_is_refused_not_misread(ply):
    vertices = VERTICES.astype("<f4").tobytes()
    triangle, quad = struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B4i", 4, 0, 1, 2, 3)
    refused(ply(binary(data=vertices + triangle + quad)), "differ in length|more bytes")
    refused(ply(binary(data=vertices + quad + triangle)), "triangulate the mesh")
    same_total = HEADER + FACES.replace("face 2", "face 3")
    refused(ply(binary("<", same_total, vertices + quad + triangle + struct.pack("<B5i", 5, *range(5))[: len(quad) * 2 - len(triangle)])), "differ in length")


@pytest.mark.parametrize("count", [5, 10**6, 10**11, 10**14])
@pytest.mark.parametrize("element", ["vertex 4", "face 2"])
@pytest.mark.parametrize("content", [text(), binary("<"), binary(">")])
def test_headers_that_promise_more_than_the_file_holds(ply, content, element, count):
    lie = f"{element.split()[0]} {count}"
    tracemalloc.start()
    refused(ply(content.replace(element.encode(), lie.encode())), "promises|ends before|above the limit|need|differ in length")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("content", [text(), binary("<")])
def test_torn_anywhere_or_longer_than_promised(ply, content):
    for length in range(4, len(content) - 1):
        with pytest.raises((FileFormatError, InvalidInputError)):
            read(ply(content[:length]), vertices=True)
    refused(ply(content + b"7"), "more")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("format ascii 1.0", "format text 1.0", "is not expected"),
        ("format ascii 1.0\n", "", "names no format"),
        ("element vertex 4", "element vertex -4", "a new element and its count"),
        ("element vertex 4", "element vertex 4 4", "a new element and its count"),
        ("element face", "element vertex", "a new element and its count"),
        ("property float z\n", "", "properties x, y, z"),
        ("property float z", "property float y", "a new property"),
        ("property float z", "property quad z", "known type"),
        ("property float z", "property list uchar float z", "list properties"),
        ("property list uchar int vertex_indices\n", "", "without properties"),
        ("property list uchar", "property list float", "known type"),
        ("vertex_indices", "corners", "no list property vertex_indices"),
        ("element face 2\nproperty list uchar int vertex_indices", "element tristrips 2\nproperty list uchar int vertex_indices", "triangle strips"),
        ("comment made", "remark made", "is not expected"),
        ("end_header", "end_of_header", "is not expected|no end_header"),
        ("3 0 2 3", "3 0 2 4", "a face names vertex 4"),
        ("3 0 2 3", "3 0 2 -1", "before the first"),
        ("3 0 2 3", "4 0 2 3", "its properties ask for 5"),
        ("3 0 2 3", "-1 0 2 3", "without a length"),
        ("3 0 2 3", "2 0 2", "2 corners"),
        ("1 1 0.5", "1 1", "a vertex of 2"),
        ("1 1 0.5", "1 1 half", "not numbers"),
    ],
)
def test_refused(ply, old, new, match):
    assert old in text().decode()
    refused(ply(text().decode().replace(old, new, 1).encode()), match)


def test_hostile_binary(ply):
    vertices = VERTICES.astype("<f4").tobytes()
    refused(ply(binary(data=vertices + struct.pack("<B3i", 3, 0, 1, 2) + struct.pack("<B3i", 3, 0, 2, 4))), "a face names vertex 4")
    refused(ply(binary(data=vertices + struct.pack("<B3i", 3, 0, 1, 2) + struct.pack("<B3i", 3, 0, 2, -1))), "-1")
    huge = HEADER + FACES.replace("uchar", "uint")
    refused(ply(binary("<", huge, vertices + struct.pack("<I3i", 2**32 - 1, 0, 1, 2) * 2)), "a list promises 4294967295")
    refused(ply(binary("<", HEADER + FACES.replace("int ", "float "), vertices + struct.pack("<B3f", 3, 0, 1, 2) * 2)), "expected integers")
    bad = VERTICES.copy()
    bad[2, 1] = np.nan
    refused(ply(binary(data=bad.astype("<f4").tobytes() + struct.pack("<B3i", 3, 0, 1, 2) * 2)), "1 of 4 rows hold NaN", InvalidInputError)
    refused(ply(b"ply\nformat ascii 1.0\n" + b"comment " + b"x" * 100_000), "no end_header")


def test_max_points(ply):
    for content in (text(), binary("<")):
        refused(ply(content), "4 vertices, above the limit max_points=3", max_points=3)
