"""The clouds in data/ are what data/make.py writes, and what their manifest says."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from topogen.manifolds import shapes

DATA = Path(__file__).resolve().parents[2] / "data"
ENTRIES = json.loads((DATA / "manifest.json").read_text())["clouds"]


def maker():
    spec = importlib.util.spec_from_file_location("topogen_data_make", DATA / "make.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def read(name):
    path = DATA / name
    return torch.from_numpy(np.load(path) if path.suffix == ".npy" else np.loadtxt(path, delimiter=",", skiprows=1))


def test_check_passes_and_sees_a_change(tmp_path, monkeypatch, capsys):
    make = maker()
    contents = make.files()
    assert {name for name, content in contents.items() if (DATA / name).read_bytes() != content} == set()
    monkeypatch.setattr(make, "files", lambda: contents)
    assert make.main(["--check"]) == 0
    monkeypatch.setattr(make, "FOLDER", tmp_path)
    assert make.main([]) == 0 and make.main(["--check"]) == 0
    text = (tmp_path / "torus.csv").read_text()
    (tmp_path / "torus.csv").write_text(text.replace("1", "2", 1))
    assert make.main(["--check"]) == 1
    assert "torus.csv" in capsys.readouterr().err


def test_the_folder_is_small_and_complete():
    assert len(ENTRIES) >= 10
    named = {entry["file"] for entry in ENTRIES}
    assert named == {path.name for path in DATA.iterdir() if path.suffix in (".csv", ".npy")}
    assert sum(path.stat().st_size for path in DATA.iterdir() if path.is_file()) < 2.5e6


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_files_are_what_the_manifest_says(entry):
    assert hashlib.sha256((DATA / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    x = read(entry["file"])
    assert x.shape == (entry["n"], entry["ambient_dim"])
    if not entry["is_manifold"]:
        return
    shape = shapes.get(entry["shape"])
    sigma, codim = entry["noise_sigma"], shape.ambient_dim - shape.dim
    distance = shape.distance(x).square().mean().sqrt()
    if sigma == 0:
        assert float(distance) < 1e-5 * shape.ambient_dim**0.5
    else:
        assert abs(float(distance) / (sigma * codim**0.5) - 1) < 0.1
    assert entry["volume"] == pytest.approx(shape.volume, rel=1e-9)
    assert (tuple(entry["betti"]["2"]), tuple(entry["betti"]["3"])) == (shape.betti(2), shape.betti(3))
    assert (entry["orientable"], entry["closed"], entry["dim"]) == (shape.orientable, shape.closed, shape.dim)
