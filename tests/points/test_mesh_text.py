"""off, obj and ASCII stl: what the formats allow is read, what is torn or names missing things is refused with its line."""

import numpy as np
import pytest

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points import read, read_mesh

SQUARE = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
OFF = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"
OBJ = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3\nf 1 3 4\n"
FACET = "facet normal 0 0 1\n outer loop\n  vertex 0 0 0\n  vertex 1 0 0\n  vertex 1 1 0\n endloop\nendfacet\n"
STL = f"solid square\n{FACET}{FACET.replace('1 0 0', '1 1 0').replace('vertex 1 1 0', 'vertex 0 1 0', 1)}endsolid square\n"


@pytest.fixture
def mesh_file(tmp_path):
    def save(content, suffix):
        path = tmp_path / f"mesh.{suffix}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return save


def refused(path, match, kind=FileFormatError, **options):
    with pytest.raises(kind, match=match) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (OFF, "off"),
        (OFF.replace("\n", "\r\n"), "off"),
        (OFF.replace("OFF\n", "OFF "), "off"),
        (OFF.replace("4 2 0", "# by hand\n\n4 2  # counts"), "off"),
        (OFF.replace("OFF", "COFF").replace("1 1 0\n", "1 1 0 255 0 0 255\n"), "off"),
        (OFF.replace("3 0 1 2\n3 0 2 3", "4 0 1 2 3").replace("4 2 0", "4 1 0"), "off"),
        (OFF.replace("3 0 1 2", "3 0 1 2 255 0 0"), "off"),
        (OBJ, "obj"),
        (OBJ.rstrip("\n"), "obj"),
        (OBJ.replace("f 1 2 3\nf 1 3 4", "f 1 2 3 4"), "obj"),
        (OBJ.replace("f 1 2 3\nf 1 3 4", "f -4 -3 -2\nf -4 -2 -1"), "obj"),
        (OBJ.replace("f 1 2 3", "f 1 2 \\\n3"), "obj"),
        (OBJ.replace("f 1 2 3", "vt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1").replace("f 1 3 4", "f 1//1 3//1 4//1"), "obj"),
        ("mtllib /etc/passwd\no a\ng b\n" + OBJ.replace("f 1 2 3", "usemtl red\ns off\nf 1 2 3"), "obj"),
        (OBJ.replace("v 1 1 0", "v 1 1 0 0.5 0.5 0.5").replace("v 0 1 0", "v 0 1 0 1.0"), "obj"),
        ("f 1 2 3\nf 1 3 4\n" + OBJ.split("f")[0], "obj"),
    ],
)
def test_the_square_in_all_its_spellings(mesh_file, content, suffix):
    mesh = read_mesh(mesh_file(content, suffix))
    assert mesh.vertices.tolist() == SQUARE
    assert sorted(map(tuple, mesh.faces.tolist())) == [(0, 1, 2), (0, 2, 3)]
    points = read(mesh_file(content, suffix), samples=100)
    assert points.shape == (100, 3) and points[:, :2].min() >= 0 and points[:, :2].max() <= 1 and points[:, 2].abs().max() == 0


def test_ascii_stl(mesh_file):
    mesh = read_mesh(mesh_file(STL, "stl"))
    assert mesh.vertices.shape == (6, 3) and mesh.faces.tolist() == [[0, 1, 2], [3, 4, 5]]
    two_solids = STL + STL.replace("0 0 0", "0 0 5")
    assert len(read_mesh(mesh_file(two_solids.upper().replace("E+", "e+"), "stl")).faces) == 4


def test_vertices_alone(mesh_file):
    for content, suffix in ((OFF.replace("4 2 0", "4 0 0").split("3 0")[0], "off"), (OBJ.split("f")[0], "obj")):
        assert read(mesh_file(content, suffix)).tolist() == SQUARE
        refused(mesh_file(content, suffix), "no faces to sample", InvalidInputError, samples=10)
        with pytest.raises(FileFormatError, match="no faces"):
            read_mesh(mesh_file(content, suffix))


def test_a_pentagon_has_its_area_and_unused_vertices_stay(mesh_file):
    angle = 2 * np.pi * np.arange(5) / 5
    rows = "\n".join(f"{x:.17g} {y:.17g} 0" for x, y in zip(np.cos(angle), np.sin(angle), strict=True))
    path = mesh_file(f"OFF\n6 1 0\n{rows}\n9 9 9\n5 0 1 2 3 4\n", "off")
    assert read_mesh(path).area == pytest.approx(2.5 * np.sin(2 * np.pi / 5))
    assert len(read(path, vertices=True)) == 6 and float(read(path).abs().max()) <= 1


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (OFF.replace("4 2 0", "5 2 0"), "the file ends before its faces"),
        (OFF.replace("4 2 0", "4 3 0"), "the file ends before its faces"),
        (OFF.replace("4 2 0", "4 1 0"), "line 8: more lines"),
        (OFF.replace("4 2 0", "400000000000 2 0"), "the header promises 400000000000 vertices"),
        (OFF.replace("4 2 0", "4 2000000 0"), "the header promises"),
        (OFF.replace("4 2 0", "-4 2 0"), "line 2: expected the counts"),
        (OFF.replace("4 2 0", "4"), "line 2: expected the counts"),
        (OFF.replace("4 2 0", "four two"), "line 2: .* not integers"),
        (OFF.replace("OFF", "4OFF"), "expected OFF, found"),
        (OFF.replace("OFF\n", "OFF BINARY\n"), "not integers"),
        (OFF.replace("3 0 2 3", "3 0 2 4"), "a face names vertex 4"),
        (OFF.replace("3 0 2 3", "3 0 2 -1"), "line 8: a face names a vertex before the first"),
        (OFF.replace("3 0 2 3", "4 0 2 3"), "promises 4 corners and lists 3"),
        (OFF.replace("3 0 2 3", "2 0 2"), "line 8: a face with 2 corners"),
        (OFF.replace("1 1 0", "1 one 0"), "line 5: .* not numbers"),
        (OFF.replace("1 1 0", "1 1"), "line 5: a vertex of 2"),
        (OFF.replace("1 1 0", "1 1_0 0"), "line 5: .* not numbers"),
        ("OFF\n", "the file ends before its counts"),
        ("OFF\n0 0 0\n", "no vertices"),
        ("# nothing\n", "ends before its header"),
    ],
)
def test_off_refused(mesh_file, content, match):
    refused(mesh_file(content, "off"), match)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (OBJ.replace("f 1 3 4", "f 1 3 5"), "a face names vertex 4"),
        (OBJ.replace("f 1 3 4", "f 0 3 4"), "line 6: a face names vertex 0"),
        (OBJ.replace("f 1 3 4", "f -5 3 4"), "line 6: a face names a vertex before the first"),
        (OBJ.replace("f 1 3 4", "f 1 3 99999999999999999999"), "out of range"),
        (OBJ.replace("f 1 3 4", "f 1 3"), "line 6: a face with 2 corners"),
        (OBJ.replace("f 1 3 4", "f 1 3 four"), "line 6: .* not integers"),
        (OBJ.replace("v 1 1 0", "v 1 1"), "line 3: a vertex of 2"),
        (OBJ.replace("v 1 1 0", "v 1 1 zero"), "line 3: .* not numbers"),
        (OBJ.replace("v 1 1 0", "w 1 1 0"), "line 3: unknown statement"),
        (OBJ.replace("f 1 3 4", "f 1 3 4 \\"), "ends before its continued lines"),
        ("f 1 2 3\n", "no vertices"),
        ("# nothing\n", "no vertices"),
        ("v 0 0 0 " + "1" * 5_000_000, "longer than"),
    ],
)
def test_obj_refused(mesh_file, content, match):
    refused(mesh_file(content, "obj"), match)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (STL[: STL.index("endsolid")], "ends before `endsolid`"),
        (STL[: len(STL) // 2], "unknown statement b'f'"),
        (STL.replace("  vertex 1 0 0\n", "", 1), "a face with 2 corners"),
        (STL.replace("vertex 1 1 0", "vertex 1 1"), "a vertex of 2"),
        (STL.replace("vertex 1 1 0", "vertex 1 1 x"), "not numbers"),
        (STL.replace("endloop", "loopend"), "unknown statement"),
        ("solid empty\nendsolid\n", "no vertices"),
        (b"solid " + bytes(200), "neither ASCII stl"),
        ("hello\n", "neither ASCII stl"),
    ],
)
def test_stl_refused(mesh_file, content, match):
    refused(mesh_file(content, "stl"), match)


@pytest.mark.parametrize(("content", "suffix"), [(OFF, "off"), (OBJ, "obj"), (STL, "stl")])
def test_nan_vertices_and_limits(mesh_file, content, suffix):
    refused(mesh_file(content.replace("1 1 0\n", "1 nan 0\n", 1), suffix), "NaN", InvalidInputError)
    refused(mesh_file(content, suffix), "limit max_points=3", max_points=3)
    refused(mesh_file(content, suffix), "50 samples, above the limit", samples=50, max_points=10)
    refused(mesh_file(content, suffix), "leave it out", InvalidInputError, samples=5, vertices=True)


def test_columns_and_angles_apply_after_sampling(mesh_file):
    assert read(mesh_file(OBJ, "obj"), vertices=True, columns="y,x").tolist() == [[y, x] for x, y, _ in SQUARE]
    assert read(mesh_file(OBJ, "obj"), vertices=True, columns="0-1", angles=True).shape == (4, 4)
