"""`topogen run`: everything in one folder, or nothing."""

import json
import sys

import pytest
import torch

import topogen
from topogen.errors import CheckpointError, InvalidInputError, MissingDependencyError
from topogen.learning.trainer import Settings
from topogen.manifolds import shapes
from topogen.points import read
from topogen.report import run as module
from topogen.report.figures import draw_clouds
from topogen.report.run import run

CIRCLE = shapes.get("circle").sample(300, generator=torch.Generator().manual_seed(1))
FILES = {"inspection.json", "model", "samples.npy", "verification.json", "report.txt", "report.json"}
STAGES = ["inspect", "fit", "sample", "verify", "write"]


def short(folder, **options):
    return run(CIRCLE, folder, **{"expect": "circle", "n_samples": 500, "settings": Settings(steps=200), **options})


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def outcome(home, heard):
    before = CIRCLE.clone()
    found = short(home / "first", say=heard.append)
    assert torch.equal(CIRCLE, before)
    return found


def test_everything_is_written(outcome, home, heard):
    folder = home / "first"
    pytest.importorskip("matplotlib")
    assert {entry.name for entry in folder.iterdir()} == FILES | {"figure.png"}
    assert heard == STAGES and [entry.name for entry in home.iterdir()] == ["first"]
    report = json.loads((folder / "report.json").read_text())
    assert report["verdict"] == "CONFIRMED" == outcome.verification.verdict.value and report["schema_version"] == 1
    assert report["inspection"] == json.loads((folder / "inspection.json").read_text())
    assert report["verification"] == json.loads((folder / "verification.json").read_text())
    assert report["volume"]["value"] == pytest.approx(2 * torch.pi, rel=0.02)
    assert (folder / "report.txt").read_text() == outcome.to_text() + "\n" and "CONFIRMED" in outcome.to_text()
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_written_can_be_read_again(outcome, home):
    assert torch.equal(read(home / "first" / "samples.npy"), outcome.samples) and outcome.samples.shape == (500, 2)
    loaded = topogen.load(home / "first" / "model")
    assert torch.equal(loaded.sample(500, generator=torch.Generator().manual_seed(0)), outcome.samples)


def test_no_mesh_of_a_curve(outcome):
    assert outcome.mesh is None and outcome.to_dict()["mesh"] is None


def test_a_second_run_replaces_the_first_and_has_the_same_bits(outcome, home):
    (home / "first" / "left over").touch()
    again = short(home / "first")
    assert torch.equal(again.samples, outcome.samples)
    assert not (home / "first" / "left over").exists() and [entry.name for entry in home.iterdir()] == ["first"]


def test_a_foreign_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "diary.txt").write_text("mine")
    monkeypatch.setattr(module, "inspect", lambda *_, **__: pytest.fail("work was done"))
    for folder in (tmp_path, tmp_path / "diary.txt"):
        with pytest.raises(CheckpointError, match="name a"):
            short(folder)
    assert [entry.name for entry in tmp_path.iterdir()] == ["diary.txt"] and (tmp_path / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize("stage", ["fit", "verify", "draw_run", "write"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_stage_that_fails_leaves_nothing(outcome, tmp_path, monkeypatch, stage, error):
    def failing(*_, **__):
        raise error("planted")

    for name, value in {"fit": outcome.model, "verify": outcome.verification}.items():
        monkeypatch.setattr(module, name, lambda *_, value=value, **__: value)
    monkeypatch.setattr(module, stage, failing)
    with pytest.raises(error, match="planted"):
        short(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_bad_points_leave_nothing(tmp_path):
    with pytest.raises(InvalidInputError):
        run(torch.full((9, 2), torch.nan), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_there_is_no_figure_and_all_else(outcome, tmp_path, monkeypatch):
    for name, value in {"fit": outcome.model, "verify": outcome.verification}.items():
        monkeypatch.setattr(module, name, lambda *_, value=value, **__: value)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"topogen\[report\]"):
        draw_clouds(tmp_path / "figure.png", {"data": CIRCLE}, "title")
    short(tmp_path / "run")
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == FILES


@pytest.mark.parametrize("ambient", [1, 2, 3, 5])
def test_pictures_of_clouds_of_any_dimension(tmp_path, ambient):
    pytest.importorskip("matplotlib")
    clouds = [torch.randn(n, ambient, generator=torch.Generator().manual_seed(n)) for n in (4000, 6)]
    draw_clouds(tmp_path / "figure.png", dict(zip(("data", "samples"), clouds, strict=True)), "a title")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
