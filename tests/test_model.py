"""`topogen.fit` and `Model`: laws that hold whatever was learned, on a circle that costs a second to learn."""

import math
import random

import numpy as np
import pytest
import torch

import topogen
from topogen.errors import CheckpointError, InvalidInputError
from topogen.manifolds import shapes
from topogen.training.trainer import Settings

SETTINGS = Settings(steps=200)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learn(points, **options):
    return topogen.fit(points, settings=SETTINGS, quiet=True, **{"seed": 5, **options})


CIRCLE = shapes.get("circle").sample(300, generator=seeded(1))
PROBES = 1.1 * shapes.get("circle").sample(50, generator=seeded(2))


@pytest.fixture(scope="module")
def model():
    return learn(CIRCLE)


def test_samples_lie_on_the_manifold_and_near_the_truth(model):
    drawn = model.sample(500, generator=seeded(3))
    again = model.project(drawn)
    assert drawn.shape == (500, 2) and drawn.dtype == torch.float64
    assert again.converged.all() and (again.points - drawn).norm(dim=1).max() <= 1e-8
    assert (drawn.norm(dim=1) - 1).abs().max() < 0.03


def test_log_prob_is_minus_log_volume_at_the_projection(model):
    volume = model.distribution.volume
    assert volume.value == pytest.approx(2 * math.pi, rel=0.02)
    expected = torch.full((50,), -math.log(volume.value), dtype=torch.float64)
    assert torch.equal(model.log_prob(PROBES), expected)
    assert torch.equal(model.log_prob(model.project(PROBES).points), expected)
    assert torch.equal(model.log_prob(PROBES.reshape(5, 10, 2)), expected.reshape(5, 10))


def test_notes_and_inspection_say_what_was_found(model):
    assert model.inspection["dim"] == 1 and model.inspection["betti"]["2"] == [1, 1]
    assert model.notes[0].startswith("manifold: ") and model.notes[-1].startswith("density: uniform, which the data do not contradict")
    assert torch.equal(model.points, model.anchors) and len(model.anchors) == 300


def test_same_seed_same_bits_and_no_trace_outside(model):
    points = CIRCLE.clone()
    state, other, third = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    again = learn(points)
    again.sample(5, generator=seeded(0))
    assert torch.equal(state, torch.get_rng_state()) and np.array_equal(other, np.random.get_state()[1]) and third == random.getstate()
    assert (threads, dtype) == (torch.get_num_threads(), torch.get_default_dtype())
    assert torch.equal(points, CIRCLE)
    assert torch.equal(again.project(PROBES).points, model.project(PROBES).points)
    assert torch.equal(again.sample(20, generator=seeded(4)), model.sample(20, generator=seeded(4)))
    assert again.distribution.volume == model.distribution.volume
    assert torch.equal(learn(points, generator=seeded(5)).project(PROBES).points, model.project(PROBES).points)


def test_another_seed_gives_another_model(model):
    assert not torch.equal(learn(CIRCLE, seed=6).project(PROBES).points, model.project(PROBES).points)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_units_change_nothing_but_units(model, factor):
    scaled = learn(factor * CIRCLE)
    found, expected = scaled.project(factor * PROBES), model.project(PROBES)
    assert found.converged.all() and expected.converged.all()
    assert torch.allclose(found.points / factor, expected.points, rtol=1e-6, atol=1e-9)
    assert scaled.distribution.volume.value / factor == pytest.approx(model.distribution.volume.value, rel=1e-6)
    assert torch.allclose(scaled.log_prob(factor * PROBES) + math.log(factor), model.log_prob(PROBES), atol=1e-6)


@pytest.mark.parametrize("as_given", [np.asarray, torch.Tensor.tolist, torch.Tensor.float], ids=["numpy", "list", "float32"])
def test_any_cloud_will_do(as_given):
    torus = shapes.get("torus")
    points = torus.sample(60, generator=seeded(7))
    assert torch.allclose(topogen.fit(as_given(points), manifold=torus).anchors, points, atol=1e-5)


def test_a_given_manifold_is_taken_as_it_is():
    torus = shapes.get("torus")
    points = torus.sample(400, generator=seeded(8))
    noisy = points + 0.02 * torch.randn(points.shape, dtype=points.dtype, generator=seeded(9))
    model = topogen.fit(noisy, manifold=torus)
    assert model.manifold is torus and model.notes[0] == "manifold: given" and "density: uniform" in model.notes[1] and model.inspection == {}
    assert torus.distance(model.anchors).max() < 1e-8 and torus.distance(model.sample(100, generator=seeded(1))).max() < 1e-8
    assert model.log_prob(points)[0].item() == pytest.approx(-math.log(torus.volume))
    with pytest.raises(InvalidInputError, match=r"R\^3, the points in R\^2"):
        topogen.fit(CIRCLE, manifold=torus)


def test_an_inspection_made_before_is_used(monkeypatch):
    inspection = topogen.inspect(CIRCLE)
    monkeypatch.setattr("topogen.model.inspect", lambda *_, **__: pytest.fail("inspected again"))
    short = topogen.fit(CIRCLE, inspection=inspection, settings=Settings(steps=20), quiet=True)
    assert short.inspection == inspection.to_dict()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"manifold": "neural"}, "manifold"),
        ({"manifold": None}, "manifold"),
        ({"manifold": shapes.Torus}, "manifold"),
        ({"density": "gaussian"}, "density"),
        ({"density": ["uniform"]}, "density"),
        ({"dim": 0}, "dim"),
        ({"dim": 3}, "dim"),
        ({"dim": 2}, "fill"),
    ],
    ids=str,
)
def test_wrong_arguments(options, names):
    with pytest.raises(InvalidInputError, match=names):
        topogen.fit(CIRCLE, quiet=True, **options)


@pytest.mark.parametrize(
    "points",
    [torch.zeros(5), torch.full((9, 2), torch.nan), torch.zeros(9, 2), torch.eye(2), torch.empty(0, 2), "circle", None, torch.zeros(3, 3, 3)],
    ids=["1-D", "NaN", "one point", "two points", "empty", "text", "None", "3-D"],
)
def test_unusable_points(points):
    with pytest.raises(InvalidInputError):
        topogen.fit(points, quiet=True)


def test_a_checkpoint_takes_the_training_up_again(tmp_path, monkeypatch):
    whole = learn(CIRCLE, constraint="neural", checkpoint=tmp_path / "whole.pt")
    resumed = learn(CIRCLE, constraint="neural", checkpoint=tmp_path / "whole.pt")
    assert torch.equal(whole.project(PROBES).points, resumed.project(PROBES).points)
    (tmp_path / "torn.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:100])
    with pytest.raises(CheckpointError, match="delete it"):
        learn(CIRCLE, constraint="neural", checkpoint=tmp_path / "torn.pt")


class _Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("options", "own"),
    [
        ({"constraint": "neural", "settings": Settings(steps=7)}, {"rate": 3e-3, "batch_size": 512}),
        ({"manifold": shapes.get("circle"), "density": "diffusion", "density_settings": Settings(steps=32)}, {"held_out": 0.0, "measure_every": 2}),
        ({"manifold": shapes.get("circle"), "density": "flow", "density_settings": Settings(steps=32)}, {"held_out": 0.0, "measure_every": 2}),
    ],
)
def test_a_number_of_steps_alone_changes_nothing_else(options, own, monkeypatch):
    """Every learner keeps its own rate, batches and measurements where a user gives the steps only."""
    seen = []

    def stop(loop, learner, points, settings, *rest):
        seen.append(settings)
        raise _Stopped

    monkeypatch.setattr("topogen.training.trainer._Loop.__init__", stop)
    with pytest.raises(_Stopped):
        topogen.fit(CIRCLE, quiet=True, **options)
    wanted = options.get("settings") or options["density_settings"]
    assert seen[0].steps == wanted.steps and {name: getattr(seen[0], name) for name in own} == own
