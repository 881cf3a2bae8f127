"""A small seeded fuzz: whatever is done to a file, only a cloud or a TopogenError comes out."""

import random

import pytest
import torch

from topogen.errors import TopogenError
from topogen.points import read, write
from topogen.points.mesh_files import MESHES
from topogen.points.screening import SUFFIXES

CASES = 250
VERTICES = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
FACES = torch.randint(0, 12, (9, 3), generator=torch.Generator().manual_seed(1))
ASCII_STL = b"solid a\n" + b"facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 .5\nendloop\nendfacet\n" * 3 + b"endsolid a\n"
ASCII_PLY = (
    b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
)
TOKENS = [
    b"0",
    b"-1",
    b"4294967295",
    b"99999999999999999999",
    b"nan",
    b"1e999",
    b"\n",
    b"\r",
    b",",
    b"\0",
    b"\xff\xfe",
    b'"',
    b"#",
    b" ",
    b"f ",
    b"list ",
    b"1_0",
    b"\\",
]


def seeds(folder):
    for suffix in SUFFIXES:
        write(folder / f"seed.{suffix}", VERTICES, FACES if suffix in ("npz", "ply", "off", "obj", "stl") else None)
        yield suffix, (folder / f"seed.{suffix}").read_bytes()
    yield "ply", ASCII_PLY
    yield "stl", ASCII_STL
    yield "csv", b"# made\r\nname,x,y\r\na,1,2\r\nb,3,4\r\n"


def mutate(content, rng):
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[place : place + rng.randint(1, 20)]
            case 2:
                data[place:place] = rng.choice(TOKENS)
            case 3:
                data[place : place + rng.randint(1, 4)] = rng.choice(TOKENS)
            case 4:
                data = data[:place]
            case 5:
                start = rng.randrange(len(data) + 1)
                data[place:place] = data[start : start + rng.randint(1, 40)]
    return bytes(data)


@pytest.mark.filterwarnings("error")
def test_only_clouds_and_topogen_errors_come_out(tmp_path):
    rng, outcomes = random.Random(0), {}
    for suffix, content in seeds(tmp_path):
        for _ in range(CASES):
            path = tmp_path / f"case.{suffix}"
            path.write_bytes(mutate(content, rng))
            options = {"samples": 20} if suffix in MESHES else {}
            options |= rng.choice([{}, {}, {"columns": "0,1"}, {"header": True}, {"angles": True}, {"max_points": 20}])
            try:
                cloud = read(path, **options)
            except TopogenError as error:
                assert "\n" not in str(error) and str(path) in str(error)
                kind = "refused"
            else:
                assert cloud.dtype == torch.float64 and cloud.ndim == 2 and bool(torch.isfinite(cloud).all())
                kind = "read"
            outcomes[suffix, kind] = outcomes.get((suffix, kind), 0) + 1
    # The fuzz is not vacuous: every format is refused often, and read now and then.
    for suffix in SUFFIXES:
        assert outcomes[suffix, "refused"] >= 30 and outcomes[suffix, "read"] >= 3
