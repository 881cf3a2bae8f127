"""Round trips in every format, and the old file or the new one but never half."""

import os

import numpy as np
import pytest
import torch

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points import read, read_mesh, write, writing

ANY = ("npy", "npz", "csv", "tsv", "xyz")
SPATIAL = ("ply", "off", "obj")
FACES = torch.tensor([[0, 1, 2], [2, 1, 3], [3, 4, 0]])


def hard_cloud(columns):
    """Values of every magnitude, with the awkward ones: -0.0, subnormals, the largest, 1/3."""
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(200, columns, generator=generator, dtype=torch.float64)
    cloud *= 10.0 ** torch.randint(-300, 300, (200, columns), generator=generator).double()
    cloud.view(-1)[:6] = torch.tensor([-0.0, 5e-324, 1.7976931348623157e308, 1 / 3, -1e-310, 2.0**-1074], dtype=torch.float64)
    return cloud


@pytest.mark.parametrize("suffix", ANY + SPATIAL)
def test_round_trip_to_the_bit(tmp_path, suffix):
    for columns in (3,) if suffix in SPATIAL else (1, 2, 3, 7):
        cloud = hard_cloud(columns)
        write(tmp_path / f"cloud.{suffix}", cloud)
        found = read(tmp_path / f"cloud.{suffix}")
        assert found.dtype == torch.float64 and found.numpy().tobytes() == cloud.numpy().tobytes()


@pytest.mark.parametrize("suffix", SPATIAL)
def test_mesh_round_trip_to_the_bit(tmp_path, suffix):
    vertices = hard_cloud(3)
    write(tmp_path / f"mesh.{suffix}", vertices, FACES)
    mesh = read_mesh(tmp_path / f"mesh.{suffix}")
    assert np.array_equal(mesh.vertices, vertices.numpy()) and np.array_equal(mesh.faces, FACES.numpy())
    assert torch.equal(read(tmp_path / f"mesh.{suffix}", vertices=True), vertices)


def test_stl_keeps_float32_triangles(tmp_path):
    vertices = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    write(tmp_path / "mesh.stl", vertices, FACES)
    corners = read(tmp_path / "mesh.stl", vertices=True)
    assert torch.equal(corners, vertices[FACES].reshape(-1, 3).float().double())


def test_npz_keeps_faces(tmp_path):
    write(tmp_path / "mesh.npz", hard_cloud(3), FACES.numpy())
    with np.load(tmp_path / "mesh.npz") as archive:
        assert sorted(archive) == ["faces", "points"] and np.array_equal(archive["faces"], FACES)
    assert torch.equal(read(tmp_path / "mesh.npz"), hard_cloud(3))


def test_same_points_same_bytes(tmp_path):
    for suffix in ANY + SPATIAL:
        write(tmp_path / f"a.{suffix}", hard_cloud(3))
        write(tmp_path / f"b.{suffix}", hard_cloud(3))
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("name", "points", "faces", "error", "message"),
    [
        ("a.pkl", torch.zeros(3, 3), None, FileFormatError, "unknown suffix '.pkl'"),
        ("a", torch.zeros(3, 3), None, FileFormatError, "unknown suffix ''"),
        ("a.ply", torch.zeros(3, 2), None, FileFormatError, "R\\^3, found 2 columns"),
        ("a.stl", torch.zeros(3, 3), None, FileFormatError, "triangles only"),
        ("a.csv", torch.zeros(3, 3), [[0, 1, 2]], FileFormatError, "csv holds no faces"),
        ("a.stl", torch.full((3, 3), 1e39, dtype=torch.float64), [[0, 1, 2]], FileFormatError, "float32"),
        ("a.ply", torch.zeros(3, 3), [[0, 1, 3]], InvalidInputError, "do not all name"),
        ("a.ply", torch.zeros(3, 3), [[0, 1, -1]], InvalidInputError, "do not all name"),
        ("a.ply", torch.zeros(3, 3), [[0.0, 1.0, 2.0]], InvalidInputError, "expected integers"),
        ("a.ply", torch.zeros(3, 3), [[0, 1]], InvalidInputError, "shape"),
        ("a.csv", [[float("nan")]], None, InvalidInputError, "NaN"),
        ("missing/a.csv", torch.zeros(3, 3), None, FileFormatError, "cannot be written"),
        ("http://host/a.csv", torch.zeros(3, 3), None, FileFormatError, "remote"),
    ],
)
def test_refuses_before_writing(tmp_path, monkeypatch, name, points, faces, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        write(name, points, faces)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(FileFormatError, match="folder"):
        write(tmp_path / "a.csv", torch.zeros(2, 2))
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("stage", ["writer", "fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_at_any_stage_leaves_the_old_file_whole(tmp_path, monkeypatch, stage, failure):
    target = tmp_path / "cloud.csv"
    write(target, [[1.0, 2.0]])
    old = target.read_bytes()

    def fail(*arguments, **_):
        if stage == "writer":
            arguments[0].write(b"half a l")
        raise failure

    if stage == "writer":
        monkeypatch.setitem(writing._WRITERS, "csv", fail)
    else:
        monkeypatch.setattr(os, stage, fail)
    with pytest.raises(FileFormatError if isinstance(failure, OSError) else KeyboardInterrupt):
        write(target, [[3.0, 4.0]])
    assert target.read_bytes() == old and os.listdir(tmp_path) == ["cloud.csv"]


def test_permissions_of_new_and_old_files(tmp_path):
    (tmp_path / "plain.csv").touch()
    write(tmp_path / "new.csv", [[1.0, 2.0]])
    assert (tmp_path / "new.csv").stat().st_mode == (tmp_path / "plain.csv").stat().st_mode
    (tmp_path / "new.csv").chmod(0o600)
    write(tmp_path / "new.csv", [[3.0, 4.0]])
    assert (tmp_path / "new.csv").stat().st_mode & 0o777 == 0o600


def test_links_are_followed(tmp_path):
    (tmp_path / "real.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write(tmp_path / "link.csv", [[1.0, 2.0]])
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").read_text() == "1,2\n"
