"""`topogen run`: everything in one folder, or nothing."""

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch

import topogen
from topogen.errors import CheckpointError, InvalidInputError, MissingDependencyError, NotSupportedError
from topogen.manifolds import shapes
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.points import read
from topogen.report import run as module
from topogen.report.figures import draw_clouds
from topogen.report.run import run
from topogen.topology.strata.strata import Stratum
from topogen.training.trainer import Settings

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
    assert {entry.name for entry in folder.iterdir()} == FILES | {"figure.png", "barcode.png"}
    assert heard == STAGES and [entry.name for entry in home.iterdir()] == ["first"]
    report = json.loads((folder / "report.json").read_text())
    assert report["verdict"] == "CONFIRMED" == outcome.verification.verdict.value and report["schema_version"] == 1
    assert report["inspection"] == json.loads((folder / "inspection.json").read_text())
    assert report["verification"] == json.loads((folder / "verification.json").read_text())
    assert report["seed"] == 0 and {"topogen", "torch", "gudhi"} <= set(report["versions"]) and list(report["stage_seconds"]) == STAGES[:-1]
    training = report["training"]
    assert (training["constraint"], training["held_out"]["lost"]) == ("local", 0) and training["seconds"] > 0
    assert report["volume"]["value"] == pytest.approx(2 * torch.pi, rel=0.02)
    assert (folder / "report.txt").read_text() == outcome.to_text() + "\n" and "CONFIRMED" in outcome.to_text()
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_written_can_be_read_again(outcome, home):
    assert torch.equal(read(home / "first" / "samples.npy"), outcome.samples) and outcome.samples.shape == (500, 2)
    loaded = topogen.load(home / "first" / "model")
    assert torch.equal(loaded.sample(500, generator=torch.Generator().manual_seed(0)), outcome.samples)


def test_an_expectation_stands_beside_the_data(outcome):
    """Both are compared with: the cloud's own Betti numbers and the expected ones."""
    found = outcome.verification
    assert found.expected_name == "circle" and found.against_betti is not None and found.expected == found.against_betti


def test_training_is_saved_without_its_seconds(outcome, home):
    training = dict(outcome.model.training)
    del training["seconds"]
    assert topogen.load(home / "first" / "model").training == training


def test_singular_points_are_drawn(outcome, home):
    pytest.importorskip("matplotlib")
    stratum = Stratum(CIRCLE[:5], torch.arange(5), 0, (1,), 0.1, 2.0)
    folder = home / "singular"
    folder.mkdir()
    module._write(replace(outcome, inspection=replace(outcome.inspection, strata=(stratum,))), CIRCLE, folder)
    assert (folder / "singular.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "report.json").read_text())["inspection"]["strata"] == [stratum.to_dict()]
    shutil.rmtree(folder)


def test_no_mesh_of_a_curve(outcome):
    assert outcome.mesh is None and outcome.to_dict()["mesh"] is None
    assert outcome.no_mesh == "" and outcome.to_dict()["no_mesh"] is None and "MESH" not in outcome.to_text()


def test_a_surface_without_a_mesh_says_why(outcome, monkeypatch):
    def failing(*_, **__):
        raise NotSupportedError("mesh_of: planted")

    monkeypatch.setattr(module, "mesh_of", failing)
    mesh, reason = module._mesh(replace(outcome.model, manifold=shapes.get("sphere")), CIRCLE)
    found = replace(outcome, no_mesh=reason)
    assert (mesh, reason) == (None, "none: mesh_of: planted")
    assert found.to_dict()["no_mesh"] == reason and f"MESH\n{reason}" in found.to_text()


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "inspect", lambda *_, **__: pytest.fail("work was done"))
    monkeypatch.setattr(module.os, "access", lambda folder, mode: folder != tmp_path)
    with pytest.raises(InvalidInputError, match="cannot be written to"):
        short(tmp_path / "deep" / "run")
    assert not list(tmp_path.iterdir())


def test_a_second_run_replaces_the_first_and_has_the_same_bits(outcome, home):
    (home / "first" / "mesh.ply").touch()
    again = short(home / "first")
    assert torch.equal(again.samples, outcome.samples)
    assert not (home / "first" / "mesh.ply").exists() and [entry.name for entry in home.iterdir()] == ["first"]


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


def test_the_edge_is_near_the_ends_of_an_arc_and_nowhere_on_a_circle(outcome):
    angle = torch.linspace(0.0, 3.0, 400, dtype=torch.float64)
    arc = torch.stack([angle.cos(), angle.sin()], 1)
    gated = ImplicitManifold(lambda x: (x.square().sum(-1, keepdim=True) - 1) / 2, 1, ambient_dim=2, gate=Gate(arc, 0.3, 3))
    marked = module._edge(replace(outcome.model, manifold=gated))(arc)
    assert marked[[0, -1]].all() and not marked[(angle > 0.3) & (angle < 2.7)].any()
    assert module._edge(outcome.model) is None


@pytest.mark.parametrize("ambient", [1, 2, 3, 5])
def test_marked_rows_are_drawn_in_red(tmp_path, ambient):
    image = pytest.importorskip("matplotlib.image")
    cloud = torch.rand(200, ambient, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    reds = []
    for name, edge in {"none": None, "empty": lambda x: x[:, 0] > 2, "some": lambda x: x[:, 0] > 0.7}.items():
        draw_clouds(tmp_path / f"{name}.png", {"data": cloud}, "a title", edge)
        red, green, blue = image.imread(tmp_path / f"{name}.png")[..., :3].transpose(2, 0, 1)
        reds.append(int(((red > 0.75) & (green < 0.3) & (blue < 0.3)).sum()))
    assert reds[0] == reds[1] == 0 and reds[2] > 50


@pytest.mark.parametrize("ambient", [1, 2, 3, 5])
def test_pictures_of_clouds_of_any_dimension(tmp_path, ambient):
    pytest.importorskip("matplotlib")
    clouds = [torch.randn(n, ambient, generator=torch.Generator().manual_seed(n)) for n in (4000, 6)]
    draw_clouds(tmp_path / "figure.png", dict(zip(("data", "samples"), clouds, strict=True)), "a title")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
