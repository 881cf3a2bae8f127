"""The choice of a constraint: local polynomials on clean data, the better one under noise, judged on points that neither saw, gated by held-out points."""

import json
import math

import pytest
import torch

import topogen
from topogen.command.main import main
from topogen.errors import InvalidInputError
from topogen.learning.base import ManifoldRequest
from topogen.learning.implicit import choice
from topogen.learning.implicit.choice import Division, fit_constraint, held_out_distances
from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.learning.implicit.fit import fit_implicit
from topogen.manifolds import shapes
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.manifolds.implicit.local_constraint import LocalPolynomialConstraint
from topogen.topology.level_sets.spurious_components import wilson_interval
from topogen.training.trainer import Settings

SHORT = Settings(steps=150, batch_size=256, rate=3e-3)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def cloud(name, n, seed, noise=0.0):
    x = shapes.get(name).sample(n, seeded(seed))
    return x + noise * torch.randn(x.shape, generator=seeded(seed + 1), dtype=x.dtype)


def fitted(points, dim, **options):
    return fit_constraint(ManifoldRequest(points, dim, seeded(0), quiet=True, **{"settings": SHORT, **options}))


def test_clean_data_take_local_polynomials_and_say_why():
    found = fitted(cloud("torus", 2000, 1), 2)
    assert isinstance(found.manifold.constraint, LocalPolynomialConstraint) and found.training["constraint"] == "local"
    assert any("a network was not tried" in note for note in found.notes)
    assert found.training["held_out"]["distance"] < 1e-3 and found.training["held_out"]["lost"] == 0


def test_noise_tries_both_and_takes_the_one_that_is_nearer_to_held_out_points():
    found = fitted(cloud("circle", 600, 3, 0.05), 1)
    told = next(note for note in found.notes if "off a network" in note)
    local, neural = (float(word) for word in told.replace(",", " ").split() if word.startswith("0."))
    assert found.training["constraint"] == ("neural" if neural < local else "local")


@pytest.mark.parametrize("name,kind", [("local", LocalPolynomialConstraint), ("neural", ConstraintNetwork)])
def test_what_is_asked_for_is_fitted(name, kind):
    found = fitted(cloud("circle", 400, 5), 1, constraint=name)
    assert isinstance(found.manifold.constraint, kind) and found.training["constraint"] == name


def test_the_points_to_judge_with_are_not_fitted_to():
    """Moving them changes the judgement, not the manifold."""
    points, probes = cloud("circle", 500, 6), 1.1 * cloud("circle", 50, 7)
    judge = torch.randperm(500, generator=seeded(0))[50:100]
    moved = points.clone()
    moved[judge] *= 1.01
    one, other = fitted(points, 1), fitted(moved, 1)
    assert torch.equal(one.manifold.project(probes).points, other.manifold.project(probes).points)
    assert other.training["held_out"]["distance"] == pytest.approx(0.01, rel=1e-3)


def test_the_judgement_of_noisy_data_is_their_noise():
    """Root mean square of N(0, s^2) across one normal; three times s is allowed, so nothing warns."""
    found = fitted(cloud("circle", 2000, 8, 0.03), 1, constraint="local")
    assert found.training["held_out"]["distance"] == pytest.approx(0.03, rel=0.2)
    assert not any("underfit" in note for note in found.notes)


def test_an_underfit_manifold_warns_and_says_so_in_a_note():
    flat = cloud("circle", 500, 10) * torch.tensor([1.0, 0.4])
    with pytest.warns(RuntimeWarning, match="underfit"):
        found = fitted(flat, 1, constraint="neural", settings=Settings(steps=25, batch_size=64, rate=1e-3))
    assert any("underfit" in note for note in found.notes)


def test_few_points_are_all_fitted_to_and_a_note_says_so():
    found = fitted(cloud("circle", 60, 20), 1, constraint="local")
    assert found.training["held_out"]["points"] == 0 and any("too few points to set any apart" in note for note in found.notes)


def test_held_out_distances():
    circle = shapes.get("circle")
    manifold = fitted(circle.sample(400, seeded(11)), 1).manifold
    off, lost = held_out_distances(manifold, torch.tensor([[1.25, 0.0], [torch.nan, 0.0]], dtype=torch.float64))
    assert off[0] == pytest.approx(0.25, abs=1e-3) and lost.tolist() == [False, True]


@pytest.mark.parametrize("constraint", ["local", "neural"])
def test_an_evenly_covered_edge_keeps_the_usual_gate(constraint):
    angle = torch.linspace(0, math.pi, 800, dtype=torch.float64)
    found = fitted(
        torch.stack([angle.cos(), angle.sin()], -1), 1, boundary=True, constraint=constraint, settings=Settings(steps=600, batch_size=512, rate=3e-3)
    )
    assert found.manifold.gate is not None and any("gated to where the data are" in note for note in found.notes)
    probe = torch.linspace(-1.2, math.pi + 1.2, 4001, dtype=torch.float64)
    around = torch.stack([probe.cos(), probe.sin()], -1)
    onto = found.manifold.project(around)
    inside = onto.converged & ((onto.points - around).norm(dim=-1) < 0.05)
    assert float(inside.double().mean()) * float(probe[-1] - probe[0]) == pytest.approx(math.pi, rel=0.02)


def clustered(n, seed):
    """Most points of the sphere in forty small clusters, the others everywhere: like quakes on the earth."""
    centre = shapes.Sphere(2).sample(40, seeded(seed))
    near = centre[torch.arange(n) % 40] + 0.08 * torch.randn(n, 3, generator=seeded(seed + 1), dtype=torch.float64)
    near[: n // 6] = torch.randn(n // 6, 3, generator=seeded(seed + 2), dtype=torch.float64)
    return near / near.norm(dim=1, keepdim=True)


def test_a_gate_on_clustered_data_keeps_held_out_points(monkeypatch):
    found = fitted(clustered(1500, 12), 2, boundary=True, constraint="local")
    gate = found.manifold.gate
    fresh = clustered(1500, 12)[torch.randperm(1500, generator=seeded(0))[:150]]
    if gate is not None:
        lost = int((~gate(found.manifold.with_fast_projection(gated=False).projx(fresh), found.manifold.tangent_basis)).sum())
        assert wilson_interval(lost, len(fresh))[0] <= 0.01
    # The planted defect: the usual gate alone loses more.
    monkeypatch.setattr(choice, "LOST", 1.01)
    usual = fitted(clustered(1500, 12), 2, boundary=True, constraint="local").manifold
    assert (~usual.gate(usual.with_fast_projection(gated=False).projx(fresh), usual.tangent_basis)).double().mean() > 0.01


@pytest.mark.filterwarnings("ignore:underfit")
def test_dimensions_and_pieces_that_local_polynomials_are_not_made_for():
    points = torch.cat([cloud("sphere", 300, 13), 3 + cloud("sphere", 300, 14)])
    found = fitted(points, 2, mixed=True)
    assert found.training["constraint"] == "neural" and any("several dimensions" in note for note in found.notes)


def test_a_model_is_fitted_saved_and_verified(tmp_path):
    points = cloud("circle", 600, 15)
    model = topogen.fit(points, seed=1)
    model.save(tmp_path / "m")
    again, probes = topogen.load(tmp_path / "m"), 1.02 * points[:50]
    assert torch.equal(model.project(probes).points, again.project(probes).points)
    assert torch.equal(model.sample(20, seeded(2)), again.sample(20, seeded(2)))
    assert torch.equal(topogen.fit(points, seed=1).project(probes).points, model.project(probes).points), "same seed, other bits"
    assert topogen.verify(model, expect="circle").verdict.value == "CONFIRMED"


def test_the_command(tmp_path, capsys):
    topogen.points.write(tmp_path / "c.npy", cloud("circle", 400, 17))
    assert main(["fit", str(tmp_path / "c.npy"), "-o", str(tmp_path / "m"), "--constraint", "local", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["constraint"] == "local"
    assert main(["fit", str(tmp_path / "c.npy"), "-o", str(tmp_path / "m"), "--constraint", "magic"]) == 2


def test_wrong_arguments():
    points = cloud("circle", 100, 18)
    with pytest.raises(InvalidInputError, match="constraint: expected one of auto, local, neural"):
        topogen.fit(points, constraint="sheets")
    with pytest.raises(InvalidInputError, match="is given"):
        topogen.fit(points, shapes.get("circle"), constraint="local")


def test_points_to_judge_with_that_contradict_ask_for_a_network(monkeypatch):
    """Local polynomials that pass the choice and fail the judgement are compared with a network after all."""
    points = cloud("circle", 500, 21)
    judge = torch.randperm(500, generator=seeded(0))[50:100]
    points[judge[:2]] *= 0.7
    with pytest.warns(RuntimeWarning, match="underfit"):
        found = fitted(points, 1)
    assert any("they decided, so none are left to judge with" in note for note in found.notes)


@pytest.mark.filterwarnings("ignore:underfit")
def test_gaps_that_are_to_be_closed_ask_for_a_network():
    found = fitted(cloud("circle", 300, 22), 1, gaps=True)
    assert found.training["constraint"] == "neural" and any("gaps" in note for note in found.notes)


def ring(radius):
    return ImplicitManifold(lambda x: x.norm(dim=-1, keepdim=True) - radius, 1, ambient_dim=2)


def test_a_network_is_beaten_where_it_is_farther_away_from_its_defects():
    points = cloud("circle", 300, 23)
    parts = Division(points[:200], points[200:250], points[250:])
    beaten = choice._beaten_by(ring(1.05), parts)
    assert beaten(ring(1.1)) and beaten(ring(0.9)) and not beaten(ring(1.01))


def test_defects_are_not_held_against_a_network():
    """A circle that bulges where its constraint is flat: beaten by its mean square distance, not where the constraint is sound."""
    points = cloud("circle", 600, 24)
    parts = Division(points[:300], points[300:500], points[500:])

    def bulging(x):
        side = torch.sigmoid(400 * (x[..., :1] - 0.8))
        return (x.norm(dim=-1, keepdim=True) - 1 - 0.3 * side) * (1 - 0.9 * side)

    network = ImplicitManifold(bulging, 1, ambient_dim=2)
    local = ring(1.05)
    assert choice._level(network, parts) > choice._level(local, parts)
    assert not choice._beaten_by(local, parts)(network)


def test_attempts_end_where_local_polynomials_are_better():
    """Twenty steps leave defects, so that every attempt is made unless it is told that it is beaten."""
    points = cloud("torus", 500, 25)
    few = Settings(steps=20, batch_size=64)
    asked = []
    alone = fit_implicit(points, 2, settings=few, generator=seeded(0), quiet=True)
    ended = fit_implicit(points, 2, settings=few, beaten=lambda found: asked.append(found) or True, generator=seeded(0), quiet=True)
    assert len(alone.attempts) == 3 and len(ended.attempts) == len(asked) == 1
    assert any("1 of 3 attempts at a network" in note for note in ended.notes)
