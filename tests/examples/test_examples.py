"""The examples run from any folder in short mode, say what they found, exit as they promise and write a picture."""

import json
import os
import pathlib
import struct
import subprocess
import sys

import pytest
import torch

from topogen.manifolds import shapes
from topogen.points import write

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SECONDS = 120
DATA = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere"))
CYCLOOCTANE = DATA / "cyclooctane" / "pointsCycloOctane.mat"
SCRIPTS = {
    "fit_a_knot.py": "homology of a circle: CONFIRMED",
    "optimise_on_a_learned_manifold.py": "geoopt reaches",
    "verify_in_a_pipeline.py": "klein_bottle.npy: CONFIRMED as klein_bottle",
    "sample_a_ring_molecule.py": "bond lengths are kept",
    "sample_a_robot_arm.py": "links and line are kept",
    "tilt_a_learned_knot.py": "standard errors apart",
    "certify_a_klein_bottle.py": "orientable: False; odd cycle of charts",
    "geodesics_on_a_bunny.py": "chord over length at most",
    "interpolate_ring_molecules.py": "bond lengths change by at most",
    "take_a_set_apart.py": "VERDICT   CONFIRMED",
    "cover_a_sphere_and_a_circle.py": "dimensions found in the cloud: (1, 2)",
    "diffuse_ring_molecules.py": "new conformations are kept to",
    "diffuse_on_a_bunny.py": "held-out points on the surface:",
    "flow_of_torsion_angles.py": "nats, uniform angles: 3.676 nats",
    "diffuse_earthquakes.py": "nats, uniform on the sphere: 2.531 nats",
    "flows_on_a_klein_bottle.py": "discs, weights",
}


def run(folder: pathlib.Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One example in a folder of its own, in short mode and with one thread."""
    command = [sys.executable, str(EXAMPLES / script), "--short", "--output", str(folder / "picture.png"), *arguments]
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)


def size(path: pathlib.Path) -> tuple[int, int]:
    """Width and height of a PNG that decodes as a whole and is not of one colour."""
    from matplotlib.image import imread

    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = imread(path)
    width, height = struct.unpack(">II", head[16:24])
    assert pixels.shape[:2] == (height, width)
    assert float(pixels[..., :3].std()) > 0.01, "the picture is empty"
    return width, height


@pytest.mark.parametrize(("script", "key_line"), SCRIPTS.items())
def test_example(tmp_path, script, key_line):
    done = run(tmp_path, script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert key_line in done.stdout
    width, height = size(tmp_path / "picture.png")
    assert 400 <= width <= 2000
    assert 400 <= height <= 2000


@pytest.mark.skipif(not CYCLOOCTANE.is_file(), reason="TOPOGEN_DATA names no folder with cyclooctane")
def test_published_conformations_are_interpolated(tmp_path):
    done = run(tmp_path, "interpolate_ring_molecules.py", "--data", str(CYCLOOCTANE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert SCRIPTS["interpolate_ring_molecules.py"] in done.stdout


def test_the_pipeline_refutes_a_sphere_as_a_torus(tmp_path):
    write(tmp_path / "sphere.npy", shapes.get("sphere").sample(5000, generator=torch.Generator().manual_seed(0)))
    done = run(tmp_path, "verify_in_a_pipeline.py", str(tmp_path / "sphere.npy"), "--expect", "torus", "--density-ratio", "1.1", "--json", "evidence.json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "sphere.npy: REFUTED as torus" in done.stdout
    assert json.loads((tmp_path / "evidence.json").read_text(encoding="utf-8"))["verdict"] == "REFUTED"
    size(tmp_path / "picture.png")


def test_the_pipeline_says_what_it_cannot_read(tmp_path):
    (tmp_path / "empty.csv").touch()
    done = run(tmp_path, "verify_in_a_pipeline.py", "empty.csv")
    assert done.returncode == 3
    assert done.stderr.startswith("cannot check empty.csv")
    assert not (tmp_path / "picture.png").exists()


def test_every_example_is_run():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SCRIPTS)


def test_the_ci_job_runs(tmp_path):
    """The job's own command lines, in a shell that stops at the first failure as the service's does."""
    text = (EXAMPLES / "topology_check.yml").read_text(encoding="utf-8")
    steps = [line.split("run: ", 1)[1] for line in text.splitlines() if "run: " in line and "topogen verify" in line]
    assert len(steps) == 2
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "topogen").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m topogen "$@"\n', encoding="utf-8")
    (tmp_path / "topogen").chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    for step in steps:
        done = subprocess.run(["bash", "-e", "-c", step], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {name: json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["verdict"] for name in ("klein_bottle", "sphere")}
    assert verdicts == {"klein_bottle": "CONFIRMED", "sphere": "REFUTED"}
    swapped = steps[1].replace("--expect torus", "--expect sphere")
    assert subprocess.run(["bash", "-e", "-c", swapped], cwd=tmp_path, env=environment, capture_output=True, timeout=SECONDS, check=False).returncode != 0
