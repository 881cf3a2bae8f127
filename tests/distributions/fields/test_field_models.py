"""Models with a diffusion or a flow: by the library and by the command, saved, scored, tilted and resumed."""

import json

import pytest
import torch
from fields_on_shapes import on_circle, seeded

import topogen
from topogen.command.main import main
from topogen.distributions.fields.prepare import field_settings
from topogen.distributions.flow.fit import fit_flow
from topogen.errors import InvalidInputError
from topogen.manifolds import shapes
from topogen.model import Model
from topogen.points import read, write

KINDS = ("diffusion", "flow")
CIRCLE = shapes.get("circle")


@pytest.fixture(scope="module", params=KINDS)
def given(request):
    return request.param, topogen.fit(on_circle(600, 1), CIRCLE, request.param, density_settings=field_settings(96), quiet=True)


def assert_same(first: Model, second: Model) -> None:
    x = on_circle(50, 2)
    assert torch.equal(first.log_prob(x), second.log_prob(x))
    assert torch.equal(first.sample(20, seeded(5)), second.sample(20, seeded(5)))


def test_a_saved_model_is_the_same_to_the_last_bit(given, tmp_path):
    kind, model = given
    model.save(tmp_path / "model")
    assert_same(model, topogen.load(tmp_path / "model"))
    assert any(f"density: {'flow matching' if kind == 'flow' else kind}" in note for note in model.notes)


def test_a_base_of_charts_is_hardly_made_worse_and_is_saved(tmp_path):
    data = on_circle(2000, 1)
    found = fit_flow(data, CIRCLE, base="charts", settings=field_settings(64), generator=seeded(), quiet=True)
    test = on_circle(400, 3)
    assert float(found.distribution.log_prob(test).mean() - found.distribution.base.log_density(test).mean()) > -0.03
    model = Model(CIRCLE, found.distribution, data)
    model.save(tmp_path / "model")
    assert_same(model, topogen.load(tmp_path / "model"))
    with pytest.raises(InvalidInputError, match="base: expected"):
        fit_flow(data, CIRCLE, base="normal")
    with pytest.raises(InvalidInputError, match="base: charts"):
        fit_flow(data, CIRCLE, base="charts", context=torch.zeros(2000, 1))


@pytest.mark.slow
def test_a_model_is_tilted(given):
    tilted = given[1].tilt(lambda x: 3 * x[:, 0])
    assert float(tilted.sample(500, seeded(1))[:, 0].mean()) < float(given[1].sample(500, seeded(1))[:, 0].mean()) - 0.2


def test_contexts_are_cut_to_the_distinct_points():
    x = on_circle(200, 1)
    twice, labels = torch.cat([x, x[:50]]), torch.arange(250) % 2
    model = topogen.fit(twice, CIRCLE, "flow", context=labels, density_settings=field_settings(16), quiet=True)
    assert model.distribution.field.context == 2
    with pytest.raises(InvalidInputError, match="context: only a diffusion or flow"):
        topogen.fit(x, CIRCLE, "energy", context=labels[:200])
    with pytest.raises(InvalidInputError, match="context: expected one for each of the 250"):
        topogen.fit(twice, CIRCLE, "flow", context=labels[:200])


@pytest.mark.parametrize("kind", KINDS)
def test_learned_sampled_and_scored_by_the_command(kind, tmp_path, capsys):
    cloud, model, drawn = tmp_path / "cloud.npy", tmp_path / "model", tmp_path / "drawn.npy"
    write(cloud, on_circle(700, 1))
    steps = ["--steps", "300", "--density-steps", "64", "--checkpoint", str(tmp_path / "state")]
    assert main(["fit", str(cloud), "-o", str(model), "--density", kind, *steps, "--quiet"]) == 0
    assert (tmp_path / "state.density").exists()
    assert main(["sample", str(model), "-n", "100", "--steps", "20", "-o", str(drawn)]) == 0
    assert read(drawn).shape == (100, 2)
    capsys.readouterr()
    assert main(["score", str(model), str(drawn), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["distribution"] == {"diffusion": "Diffusion", "flow": "FlowMatching"}[kind] and told["scored"] == 100


def test_steps_need_something_to_carry(tmp_path, capsys):
    model = tmp_path / "model"
    topogen.fit(on_circle(300, 1), CIRCLE, "uniform").save(model)
    assert main(["sample", str(model), "-n", "5", "--steps", "3", "-o", str(tmp_path / "x.npy")]) == 3
    assert "--steps" in capsys.readouterr().err
