"""Saved models: the same bits come back, anything torn or altered is refused, and a save that fails costs nothing."""

import dataclasses
import hashlib
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

import topogen
from topogen.distributions import Uniform
from topogen.errors import CheckpointError, NotSupportedError
from topogen.manifolds import ImplicitManifold, shapes
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.model import Model
from topogen.training.checkpoints import read_checkpoint, write_checkpoint
from topogen.training.trainer import Settings


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model():
    return topogen.fit(shapes.get("circle").sample(300, generator=seeded(1)), constraint="neural", settings=Settings(steps=400), quiet=True)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saving") / "model"
    model.save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the saved model that a test may damage."""
    return shutil.copytree(saved, tmp_path / "model")


def tensors_of(folder):
    (found,) = folder.glob("tensors-*.safetensors")
    return found


def edit(folder, change):
    """Apply `change` to the document of a saved model."""
    document = json.loads((folder / "model.json").read_text())
    change(document)
    (folder / "model.json").write_text(json.dumps(document))


def replace_tensors(folder, change):
    """Apply `change` to the tensors of a saved model and bring its SHA-256 up to date, as a careful forger would."""
    tensors = load(tensors_of(folder).read_bytes())
    change(tensors)
    blob = save(tensors)
    tensors_of(folder).write_bytes(blob)
    edit(folder, lambda document: document["tensors"].update(sha256=hashlib.sha256(blob).hexdigest()))


def same(first, second):
    points = torch.randn(40, 2, dtype=torch.float64, generator=seeded(2))
    one, two = first.project(points), second.project(points)
    assert torch.equal(one.points, two.points) and torch.equal(one.converged, two.converged)
    assert torch.equal(first.sample(50, generator=seeded(3)), second.sample(50, generator=seeded(3)))
    assert torch.equal(first.log_prob(points), second.log_prob(points))


def test_a_loaded_model_has_the_same_bits(model, saved):
    loaded = topogen.load(saved)
    same(model, loaded)
    assert torch.equal(model.anchors, loaded.anchors)
    assert loaded.notes == model.notes and dict(loaded.inspection) == json.loads(json.dumps(dict(model.inspection)))


def test_a_gate_is_saved(model, tmp_path):
    upper = model.anchors[model.anchors[:, 1] > 0]
    plain = model.manifold
    gated = ImplicitManifold(plain.constraint, 1, gate=Gate(upper, 0.2, 3), predictor_steps=2, scale=plain.scale)
    half = Model(gated, Uniform(gated, points=upper, seed=4), upper)
    half.save(tmp_path / "half")
    loaded = topogen.load(tmp_path / "half")
    same(half, loaded)
    assert not loaded.project(torch.tensor([[0.0, -1.0]], dtype=torch.float64)).converged.any()


@pytest.mark.parametrize("name", sorted(shapes.SHAPES))
def test_a_given_shape_comes_back(name, tmp_path):
    shape = shapes.get(name)
    fitted = topogen.fit(shape.sample(50, generator=seeded(5)), manifold=shape)
    fitted.save(tmp_path / "model")
    loaded = topogen.load(tmp_path / "model")
    assert repr(loaded.manifold) == repr(shape)
    assert torch.equal(loaded.sample(20, generator=seeded(6)), fitted.sample(20, generator=seeded(6)))


def test_a_shape_that_no_file_can_hold_is_refused(tmp_path):
    torus = shapes.Torus(3.0, 1.0)
    fitted = topogen.fit(torus.sample(50, generator=seeded(7)), manifold=torus)
    with pytest.raises(NotSupportedError, match="not registered"):
        fitted.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


class Radius(nn.Module):
    ambient_dim = 2

    def forward(self, x):
        return x.norm(dim=-1, keepdim=True) - 1


@pytest.mark.parametrize("constraint", [lambda x: x.norm(dim=-1, keepdim=True) - 1, Radius()], ids=["function", "module"])
def test_a_constraint_that_no_file_can_hold_is_refused(constraint, tmp_path):
    manifold = ImplicitManifold(constraint, 1, 2)
    with pytest.raises(NotSupportedError, match="only learned constraints"):
        Model(manifold, Uniform(manifold, seed=0), torch.eye(2, dtype=torch.float64)).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_torn_tensors(folder, share):
    blob = tensors_of(folder).read_bytes()
    tensors_of(folder).write_bytes(blob[: int(share * len(blob))])
    with pytest.raises(CheckpointError, match="torn or altered"):
        topogen.load(folder)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_one_flipped_bit(folder, share):
    blob = bytearray(tensors_of(folder).read_bytes())
    blob[int(share * len(blob))] ^= 1
    tensors_of(folder).write_bytes(blob)
    with pytest.raises(CheckpointError, match="SHA-256"):
        topogen.load(folder)


def test_tensors_that_are_no_safetensors(folder):
    blob = b"PK\x03\x04 no tensors here"
    tensors_of(folder).write_bytes(blob)
    edit(folder, lambda document: document["tensors"].update(sha256=hashlib.sha256(blob).hexdigest()))
    with pytest.raises(CheckpointError, match="cannot be read"):
        topogen.load(folder)


FORGED = {
    "NaN in the weights": lambda t: t["manifold.network.centre"].fill_(torch.nan),
    "infinite anchor": lambda t: t["anchors"].view(-1)[:1].fill_(torch.inf),
    "no anchors": lambda t: t.pop("anchors"),
    "no centre": lambda t: t.pop("manifold.network.centre"),
    "wrong shape": lambda t: t.update({"manifold.network.hull": torch.ones(1, 7)}),
    "one too many": lambda t: t.update({"manifold.network.extra": torch.ones(1)}),
    "anchors in another space": lambda t: t.update(anchors=torch.ones(5, 3, dtype=torch.float64)),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_forged_tensors(folder, change):
    replace_tensors(folder, change)
    with pytest.raises(CheckpointError):
        topogen.load(folder)


EDITED = {
    "newer schema": lambda d: d.update(schema_version=2),
    "schema as text": lambda d: d.update(schema_version="1"),
    "no schema": lambda d: d.pop("schema_version"),
    "unknown manifold": lambda d: d["manifold"].update(kind="pickle"),
    "kind that is a list": lambda d: d["manifold"].update(kind=[]),
    "unknown distribution": lambda d: d["distribution"].update(kind="gaussian"),
    "no manifold": lambda d: d.pop("manifold"),
    "no distribution": lambda d: d.pop("distribution"),
    "manifold as text": lambda d: d.update(manifold="implicit"),
    "configuration as text": lambda d: d["manifold"].update(config="dim"),
    "no dim": lambda d: d["manifold"]["config"].pop("dim"),
    "dim of the whole space": lambda d: d["manifold"]["config"].update(dim=2),
    "dim as text": lambda d: d["manifold"]["config"].update(dim="1"),
    "infinite width": lambda d: d["manifold"]["config"]["network"].update(width=float("inf")),
    "other width": lambda d: d["manifold"]["config"]["network"].update(width=64),
    "no network": lambda d: d["manifold"]["config"].update(network=None),
    "gate without anchors": lambda d: d["manifold"]["config"].update(gate={"radius": 1.0, "minimum": 2}),
    "unknown shape": lambda d: d.update(manifold={"kind": "shape", "config": {"name": "os.system"}}),
    "shape that is a list": lambda d: d.update(manifold={"kind": "shape", "config": {"name": ["torus"]}}),
    "shape in another space": lambda d: d.update(manifold={"kind": "shape", "config": {"name": "torus"}}),
    "seed as text": lambda d: d["distribution"]["config"].update(seed="x"),
    "infinite seed": lambda d: d["distribution"]["config"].update(seed=float("inf")),
    "notes as a number": lambda d: d.update(notes=5),
    "inspection as a list": lambda d: d.update(inspection=[1]),
    "no tensors": lambda d: d.pop("tensors"),
    "tensors elsewhere": lambda d: d["tensors"].update(file="../other/" + d["tensors"]["file"]),
    "tensors by a full path": lambda d: d["tensors"].update(file="/etc/passwd"),
    "tensors one up": lambda d: d["tensors"].update(file=".."),
    "tensors without a name": lambda d: d["tensors"].update(file=""),
    "null byte": lambda d: d["tensors"].update(file="a\0b"),
    "tensors not there": lambda d: d["tensors"].update(file="tensors-0.safetensors"),
    "no hash": lambda d: d["tensors"].pop("sha256"),
}


@pytest.mark.parametrize("change", EDITED.values(), ids=EDITED)
def test_edited_document(folder, change):
    edit(folder, change)
    shutil.copytree(folder, folder.parent / "other")
    with pytest.raises(CheckpointError):
        topogen.load(folder)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 200_000, b'{"schema_version": 1}'], ids=lambda text: repr(text[:8]))
def test_unreadable_document(folder, text):
    (folder / "model.json").write_bytes(text)
    with pytest.raises(CheckpointError):
        topogen.load(folder)


def test_missing_pieces(folder, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        topogen.load(tmp_path / "nowhere")
    tensors_of(folder).unlink()
    with pytest.raises(CheckpointError, match="copy the whole folder"):
        topogen.load(folder)


def test_a_folder_with_something_else_is_left_alone(model, tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="name a new folder"):
        model.save(tmp_path)
    with pytest.raises(CheckpointError, match="name a new folder"):
        model.save(tmp_path / "diary.txt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["diary.txt"] and (tmp_path / "diary.txt").read_text() == "mine"


def test_a_new_model_replaces_the_old_one(model, folder):
    old = tensors_of(folder).name
    dataclasses.replace(model, anchors=model.anchors[:100]).save(folder)
    assert tensors_of(folder).name != old and len(list(folder.iterdir())) == 2
    assert len(topogen.load(folder).anchors) == 100


def test_an_empty_folder_is_taken(model, tmp_path):
    model.save(tmp_path)
    same(model, topogen.load(tmp_path))


@pytest.mark.parametrize("fails_at", [1, 2], ids=["tensors", "document"])
@pytest.mark.parametrize("exists", [True, False], ids=["over an old model", "new"])
def test_a_failed_save_costs_nothing(model, folder, tmp_path, monkeypatch, fails_at, exists):
    target = folder if exists else tmp_path / "new"
    before = sorted(entry.name for entry in folder.iterdir())
    calls, replace = [], os.replace

    def failing(source, destination):
        calls.append(destination)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="No space left"):
        dataclasses.replace(model, anchors=model.anchors[:100]).save(target)
    monkeypatch.undo()
    assert sorted(entry.name for entry in folder.iterdir()) == before
    same(model, topogen.load(folder))
    assert exists or not target.exists()


def test_saving_again_over_the_same_tensors_keeps_them_when_it_fails(model, folder, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        model.save(folder)
    same(model, topogen.load(folder))


def test_checkpoints_come_back(tmp_path):
    state = {"step": 3, "weights": {"a": torch.arange(4.0)}, "history": [[1, 0.5, 0.25]]}
    write_checkpoint(tmp_path / "run.pt", state)
    found = read_checkpoint(tmp_path / "run.pt")
    assert found["step"] == 3 and torch.equal(found["weights"]["a"], state["weights"]["a"]) and found["history"] == state["history"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_torn_checkpoints(tmp_path, share):
    path = tmp_path / "run.pt"
    write_checkpoint(path, {"weights": torch.zeros(500)})
    blob = path.read_bytes()
    path.write_bytes(blob[: int(share * len(blob))])
    with pytest.raises(CheckpointError, match="delete it to start again"):
        read_checkpoint(path)


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


@pytest.mark.parametrize(
    "content", [5, {"schema": 2, "state": {}}, {"schema": 1}, {"schema": 1, "state": 3}, {"schema": 1, "state": {"a": Evil()}}], ids=range(5)
)
def test_foreign_checkpoints(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "run.pt")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "run.pt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("junk", [b"", b"\x80", b"hello\n", b"PK\x03\x04", b"\x80\x02}q\x00.", b"(lp0\n.", b"\x00" * 100, b"cos\nsystem\n."], ids=repr)
def test_junk_checkpoints(tmp_path, junk):
    (tmp_path / "run.pt").write_bytes(junk)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "run.pt")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path)


def test_a_failed_checkpoint_keeps_the_old_one(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "run.pt", {"step": 1})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path / "run.pt", {"step": 2})
    assert read_checkpoint(tmp_path / "run.pt") == {"step": 1} and len(list(tmp_path.iterdir())) == 1
