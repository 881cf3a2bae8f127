"""Binary stl, the front door for meshes, and the memory that they take."""

import struct
import tracemalloc

import numpy as np
import pytest
import torch
import trimesh

from topogen.errors import FileFormatError
from topogen.points import read, read_mesh, write

SPHERE = trimesh.creation.icosphere(subdivisions=4)


@pytest.mark.parametrize("suffix", ["ply", "off", "obj", "stl"])
def test_the_sphere_comes_back(tmp_path, suffix):
    write(tmp_path / f"sphere.{suffix}", SPHERE.vertices, SPHERE.faces)
    mesh = read_mesh(tmp_path / f"sphere.{suffix}")
    assert isinstance(mesh, trimesh.Trimesh) and len(mesh.faces) == len(SPHERE.faces)
    assert mesh.area == pytest.approx(SPHERE.area, rel=1e-6)
    if suffix != "stl":
        assert mesh.is_watertight and mesh.euler_number == 2


@pytest.mark.parametrize("suffix", ["ply", "off", "obj"])
def test_memory_stays_below_four_times_the_file(tmp_path, suffix):
    write(tmp_path / f"sphere.{suffix}", SPHERE.vertices, SPHERE.faces)
    read(tmp_path / f"sphere.{suffix}", samples=10)
    tracemalloc.start()
    read(tmp_path / f"sphere.{suffix}", vertices=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * (tmp_path / f"sphere.{suffix}").stat().st_size


@pytest.mark.parametrize("count", [0, 1, 3, 10**6, 2**32 - 1])
def test_binary_stl_with_a_wrong_count(tmp_path, count):
    triangle = np.zeros(12, dtype="<f4").tobytes() + b"\0\0"
    path = tmp_path / "mesh.stl"
    path.write_bytes(b"made by hand".ljust(80, b"\0") + struct.pack("<I", count) + triangle * 2)
    with pytest.raises(FileFormatError, match=f"promises {count} triangles, and the file holds 184 bytes"):
        read(path)


def test_binary_stl_that_begins_with_solid(tmp_path):
    corners = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype="<f4").tobytes() + b"\0\0"
    (tmp_path / "mesh.stl").write_bytes(b"solid but binary".ljust(80) + struct.pack("<I", 1) + corners)
    assert read(tmp_path / "mesh.stl", vertices=True).tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    (tmp_path / "mesh.stl").write_bytes(bytes(84))
    with pytest.raises(FileFormatError, match="no triangles"):
        read(tmp_path / "mesh.stl")
    (tmp_path / "mesh.stl").write_bytes(bytes(80) + struct.pack("<I", 4) + corners * 4)
    with pytest.raises(FileFormatError, match="12 vertices, above the limit"):
        read(tmp_path / "mesh.stl", max_points=11)


def test_a_mesh_without_area(tmp_path):
    write(tmp_path / "line.obj", [[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]], [[0, 1, 2]])
    with pytest.raises(FileFormatError, match="zero area.*vertices=True"):
        read(tmp_path / "line.obj")
    assert torch.equal(read(tmp_path / "line.obj", vertices=True)[:, 0], torch.arange(3.0, dtype=torch.float64))
