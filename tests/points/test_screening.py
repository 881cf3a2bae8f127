"""What is refused before any parser runs: each hostile file gets one line that names it."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile

import pytest

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points import read, read_mesh
from topogen.points.screening import SUFFIXES

PAYLOAD = b"1,2,3\n" * 200


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cloud.csv", PAYLOAD)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("cloud.csv")
        entry.size = len(PAYLOAD)
        archive.addfile(entry, io.BytesIO(PAYLOAD))
    return buffer.getvalue()


ARCHIVES = {
    "zip archive": zipped(),
    "tar archive": tarred(),
    "gzip stream": gzip.compress(PAYLOAD),
    "bzip2 stream": bz2.compress(PAYLOAD),
    "xz stream": lzma.compress(PAYLOAD),
}


def refusal(path, **options):
    with pytest.raises(FileFormatError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path)) and isinstance(caught.value, ValueError)
    return message


@pytest.fixture(autouse=True)
def no_parser(monkeypatch):
    """Every parser fails the test if it is reached."""

    def reached(*_, **__):
        pytest.fail("a parser was reached")

    for name in ("read_npy", "read_npz", "read_table", "load_mesh"):
        monkeypatch.setattr(f"topogen.points.reading.{name}", reached)


@pytest.mark.parametrize("suffix", [*SUFFIXES, "zip", "gz", "txt"])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_whatever_the_suffix(tmp_path, kind, suffix):
    if (kind, suffix) == ("zip archive", "npz"):
        return
    path = tmp_path / f"cloud.{suffix}"
    path.write_bytes(ARCHIVES[kind])
    assert f"is a {kind}" in refusal(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_missing_folder(tmp_path, suffix):
    path = tmp_path / f"cloud.{suffix}"
    assert "no such file" in refusal(path)
    path.touch()
    assert "is empty" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "is a folder" in refusal(path)


@pytest.mark.parametrize(
    "url", ["http://host/a.csv", "https://host/a.npy", "s3://bucket/a.ply", "ftp://host/a.obj", "file:///etc/a.csv", "gs://b/a.npz", "hdfs:/a.csv"]
)
def test_remote_paths(url):
    assert "remote paths are refused" in refusal(url)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "cloud.csv")
    assert "not a regular file" in refusal(tmp_path / "cloud.csv")


@pytest.mark.parametrize("name", ["cloud.txt", "cloud.pkl", "cloud.pt", "cloud.mat", "cloud", "cloud.csv.bak", ".csv"])
def test_unknown_suffix(tmp_path, name):
    (tmp_path / name).write_bytes(PAYLOAD)
    assert "expected one of npy, npz, csv" in refusal(tmp_path / name)


@pytest.mark.parametrize("suffix", ["npy", "npz", "ply"])
def test_wrong_magic(tmp_path, suffix):
    (tmp_path / f"cloud.{suffix}").write_bytes(PAYLOAD)
    assert f"does not begin like a .{suffix} file" in refusal(tmp_path / f"cloud.{suffix}")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "xyz", "off", "obj"])
def test_binary_under_a_text_suffix(tmp_path, suffix):
    (tmp_path / f"cloud.{suffix}").write_bytes("1,2\n3,4\n".encode("utf-16"))
    assert "UTF-16" in refusal(tmp_path / f"cloud.{suffix}")


def test_size_limit(tmp_path):
    (tmp_path / "cloud.csv").write_bytes(PAYLOAD)
    assert "1200 bytes, above the limit max_bytes=1199" in refusal(tmp_path / "cloud.csv", max_bytes=1199)


def test_a_sparse_file_of_a_terabyte(tmp_path):
    with (tmp_path / "cloud.csv").open("wb") as handle:
        handle.truncate(2**40)
    assert "above the limit" in refusal(tmp_path / "cloud.csv")


@pytest.mark.parametrize("path", [None, 3, b"cloud.csv", "", "a\0.csv", [[1.0, 2.0]]])
def test_what_is_no_path(path):
    with pytest.raises(InvalidInputError, match="path: expected a file name"):
        read(path)


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"max_points": -1}, {"samples": 0}, {"samples": 2.5}, {"max_points": True}])
def test_limits_are_positive_integers(tmp_path, options):
    with pytest.raises(InvalidInputError, match="expected a positive integer"):
        read(tmp_path / "cloud.csv", **options)


def test_an_unreadable_file(tmp_path, monkeypatch):
    (tmp_path / "cloud.csv").write_bytes(PAYLOAD)

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", deny)
    assert "Permission denied" in refusal(tmp_path / "cloud.csv")


def test_read_mesh_passes_the_same_door(tmp_path):
    (tmp_path / "mesh.ply").write_bytes(ARCHIVES["zip archive"])
    with pytest.raises(FileFormatError, match="zip archive"):
        read_mesh(tmp_path / "mesh.ply")
    (tmp_path / "cloud.csv").write_bytes(PAYLOAD)
    with pytest.raises(FileFormatError, match="a csv file holds no mesh"):
        read_mesh(tmp_path / "cloud.csv")
