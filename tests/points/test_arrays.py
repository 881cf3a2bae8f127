"""npy and npz: every honest layout, no pickles, no lying headers, no bombs."""

import io
import struct
import zipfile

import numpy as np
import pytest
import torch

from topogen.errors import FileFormatError, InvalidInputError
from topogen.points import read

CLOUD = np.arange(12.0).reshape(4, 3) / 8


def npy_header(shape="(4, 3)", descr="'<f8'", fortran="False"):
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * ((-len(text) - 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def saved(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def refused(path, match, **options):
    with pytest.raises((FileFormatError, InvalidInputError), match=match) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "u1", "<i2", ">i4", "<u8", "g"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.filterwarnings("error")
def test_layouts(tmp_path, dtype, order):
    array = np.array(CLOUD * 8, dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    assert torch.equal(read(tmp_path / "a.npy"), torch.from_numpy(CLOUD * 8))
    np.savez_compressed(tmp_path / "a.npz", array)
    assert torch.equal(read(tmp_path / "a.npz"), torch.from_numpy(CLOUD * 8))


def test_version_2_header(tmp_path):
    with (tmp_path / "a.npy").open("wb") as handle:
        np.lib.format.write_array(handle, CLOUD, version=(2, 0))
    assert torch.equal(read(tmp_path / "a.npy"), torch.from_numpy(CLOUD))


def test_columns_by_position(tmp_path):
    np.save(tmp_path / "a.npy", CLOUD)
    assert torch.equal(read(tmp_path / "a.npy", columns="2,0"), torch.from_numpy(CLOUD[:, [2, 0]]))
    refused(tmp_path / "a.npy", "no column called 'x'", columns="x")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (saved(np.array([[1, None]], dtype=object), allow_pickle=True), "pickled"),
        (saved(np.zeros(3, dtype=[("x", "f8"), ("y", "f8")])), "records"),
        (saved(np.zeros((2, 2), dtype=bool)), "bool"),
        (saved(np.zeros((2, 2), dtype=complex)), "not real"),
        (saved(np.zeros((2, 2), dtype=np.float16)), "too few digits"),
        (saved(np.array([["a", "b"]])), "not numeric"),
        (saved(np.zeros(5)), "1-D"),
        (saved(np.array(5.0)), "expected shape"),
        (saved(np.zeros((2, 3, 4))), "flatten"),
        (saved(np.zeros((0, 3))), "found 0 points"),
        (saved(np.zeros((3, 0))), "at least one coordinate"),
        (saved(np.array([[1.0, np.nan], [2.0, 3.0]])), "1 of 2 rows"),
        (saved(CLOUD)[:-1], "promises 96 bytes .* holds 95"),
        (saved(CLOUD) + b"\0", "promises 96 bytes .* holds 97"),
        (saved(CLOUD)[:60], "cannot be parsed|promises"),
        (saved(CLOUD)[:7], "cannot be parsed"),
        (npy_header("(4000000, 300000)"), "promises 9600000000000 bytes"),
        (npy_header("(10000000000000000000000, 3)"), "above the limit max_points"),
        (npy_header("(-4, 3)") + bytes(96), "negative|promises"),
        (npy_header("(-4, -3)") + bytes(96), "negative"),
        (npy_header("(4, 3)", "'|O'") + bytes(96), "pickled"),
        (npy_header("(4, 3)", "'<f8; import os'") + bytes(96), "cannot be parsed"),
        (npy_header("__import__('os').getcwd()") + bytes(96), "cannot be parsed"),
        (b"\x93NUMPY\x03\x00" + struct.pack("<I", 10) + b"{}        ", "npy version 3.0"),
        (b"\x93NUMPY\x09\x09" + bytes(100), "npy version|cannot be parsed"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100), "cannot be parsed"),
    ],
)
def test_hostile_npy_alone_and_inside_an_npz(tmp_path, content, match):
    (tmp_path / "a.npy").write_bytes(content)
    refused(tmp_path / "a.npy", match)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("points.npy", content)
    refused(tmp_path / "a.npz", match)


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    np.save(tmp_path / "a.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
    refused(tmp_path / "a.npy", "pickled")
    np.savez(tmp_path / "a.npz", points=np.array([[Bomb()]], dtype=object))
    refused(tmp_path / "a.npz", "pickled")


def test_npz_keys(tmp_path):
    np.savez(tmp_path / "one.npz", anything=CLOUD)
    assert torch.equal(read(tmp_path / "one.npz"), torch.from_numpy(CLOUD))
    np.savez(tmp_path / "named.npz", labels=np.arange(4), points=CLOUD)
    assert torch.equal(read(tmp_path / "named.npz"), torch.from_numpy(CLOUD))
    np.savez(tmp_path / "unnamed.npz", x=CLOUD, y=np.arange(4))
    refused(tmp_path / "unnamed.npz", r"2 arrays and none is called 'points' \(found x \(4, 3\), y \(4,\)\)")


def test_npz_members_must_be_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("points.npy", saved(CLOUD))
        archive.writestr("mesh.obj", "v 0 0 0")
    refused(tmp_path / "a.npz", "'mesh.obj', which is no npy array")
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    refused(tmp_path / "a.npz", "0 members")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("points.npy", saved(CLOUD))
    refused(tmp_path / "a.npz", "other than numpy's")


def test_zip_bombs_are_refused_by_their_declared_size(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", points=CLOUD, zeros=np.zeros((1000, 1000)))
    assert (tmp_path / "a.npz").stat().st_size < 20_000
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("a member was unpacked"))
    refused(tmp_path / "a.npz", "unpack to 8000... bytes, above the limit max_bytes=1000000", max_bytes=1_000_000)


def test_a_member_that_unpacks_to_more_than_it_declares(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", points=np.zeros((1000, 3)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 24 : central + 28] = struct.pack("<I", 200)
    (tmp_path / "a.npz").write_bytes(content)
    refused(tmp_path / "a.npz", "promises 24000 bytes|Bad CRC")


def test_max_points(tmp_path):
    np.save(tmp_path / "a.npy", CLOUD)
    refused(tmp_path / "a.npy", "4 points, above the limit max_points=3", max_points=3)
    assert len(read(tmp_path / "a.npy", max_points=4)) == 4
