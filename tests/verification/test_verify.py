"""`verify` on clouds, files, shapes, implicit manifolds and models: verdicts, texts, exit codes, errors."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from topogen.errors import BudgetExceeded, FileFormatError, InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.shapes import Circle, KleinBottle, Sphere, Torus
from topogen.points import write
from topogen.topology.persistence.budget import Budget
from topogen.verification import Verdict, verify


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def circle():
    return Circle().sample(400, generator())


@pytest.fixture(scope="module")
def torus():
    return Torus().sample(20_000, generator())


@pytest.fixture(scope="module")
def sphere():
    return Sphere(2).sample(3000, generator(1))


def test_a_circle_is_confirmed(circle):
    found = verify(circle, expect="circle")
    assert found.verdict is Verdict.CONFIRMED
    assert found.exit_code == 0
    assert found.subject_betti == {2: (1, 1), 3: (1, 1)}
    assert "the homology of a circle" in found.summary


def test_thirty_points_of_a_circle_are_inconclusive():
    found = verify(Circle().sample(30, generator(2)), expect="circle")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.exit_code == 4
    assert "needs eps <" in found.summary
    assert verify(Circle().sample(30, generator(2)), Circle().sample(30, generator(3))).exit_code == 4


def test_sphere_samples_against_torus_samples_are_refuted(sphere, torus):
    found = verify(sphere, torus, density_ratio=1.1)
    assert found.verdict is Verdict.REFUTED
    assert found.exit_code == 1
    assert "H_1 has rank 0 against 2" in found.summary
    assert any("Hausdorff distance" in claim.text and not claim.decides for claim in found.claims)


@pytest.mark.parametrize("seed", range(3))
def test_two_thousand_points_of_a_torus_are_never_refuted(seed):
    found = verify(Torus().sample(2000, generator(seed)), expect="torus", seed=seed)
    assert found.verdict is not Verdict.REFUTED


def test_a_torus_is_no_klein_bottle(torus):
    found = verify(torus, expect="klein", density_ratio=1.1)
    assert found.verdict is Verdict.REFUTED
    assert found.label == "statistical"


def test_heuristic_evidence_does_not_refute(torus):
    """5000 points of a torus are a torus by the plateau rule only: enough for a CONFIRMED that says so, not for a REFUTED."""
    few = torus[:5000]
    assert (verify(few, expect="torus").verdict, verify(few, expect="torus").label) == (Verdict.CONFIRMED, "heuristic")
    found = verify(few, expect="klein")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.label is None
    assert "heuristic evidence against a Klein bottle" in found.summary
    assert "to refute it, subject needs eps <" in found.summary
    assert "points instead of 5,000" in found.summary


def test_the_same_topology_elsewhere_is_not_refuted(circle):
    found = verify(circle, 3.0 * circle + 100.0)
    assert found.verdict is Verdict.CONFIRMED
    distance = next(claim for claim in found.claims if "Hausdorff" in claim.text)
    assert distance.evidence["hausdorff"] > 100
    assert not distance.decides


def test_clouds_of_different_ambient_dimension_are_compared_without_distances(circle):
    lifted = torch.cat([circle, torch.zeros(len(circle), 1, dtype=torch.float64)], 1)
    found = verify(circle, lifted)
    assert found.verdict is Verdict.CONFIRMED
    assert not any("distance" in claim.text for claim in found.claims)


def test_betti_numbers_as_text_and_as_numbers_agree(circle):
    assert verify(circle, expect="1,1").verdict is verify(circle, expect=(1, 1)).verdict is Verdict.CONFIRMED
    assert verify(circle, expect=(2, 1), density_ratio=1).verdict is Verdict.REFUTED


def test_data_and_expectation_together(circle):
    two = torch.cat([circle, circle + 10.0])
    assert verify(circle, circle, "circle").verdict is Verdict.CONFIRMED
    assert verify(circle, two, "circle", density_ratio=1).verdict is Verdict.REFUTED


def test_a_full_dimensional_set_has_no_homology_in_its_top_degree():
    square = torch.rand(1500, 2, generator=generator(), dtype=torch.float64)
    found = verify(square, expect=(1,))
    assert found.subject_betti == {2: (1, 0), 3: (1, 0)}
    assert found.verdict is Verdict.CONFIRMED


def test_files_are_read(tmp_path, circle):
    write(tmp_path / "circle.npy", circle)
    assert verify(tmp_path / "circle.npy", str(tmp_path / "circle.npy")).verdict is Verdict.CONFIRMED
    with pytest.raises(FileFormatError):
        verify(tmp_path / "missing.npy", expect="circle")
    with pytest.raises(InvalidInputError, match="topogen.load"):
        verify(tmp_path, expect="circle")


def test_the_same_seed_gives_the_same_result(circle):
    one, two = (verify(circle, expect="circle", seed=5).to_dict() for _ in range(2))
    one.pop("cost"), two.pop("cost")
    assert one == two


def test_json_is_one_document_of_plain_numbers(circle):
    document = json.loads(verify(circle, circle, "circle").to_json())
    assert document["schema_version"] == 1
    assert document["verdict"] == "CONFIRMED"
    assert document["subject"]["betti"] == {"2": [1, 1], "3": [1, 1]}
    assert set(document["versions"]) == {"topogen", "gudhi", "torch"}
    assert document["seed"] == 0
    assert "NaN" not in json.dumps(document)


def test_text_tells_sides_verdict_and_what_was_not_shown(circle):
    text = verify(circle, expect="circle").to_text()
    assert text.startswith("TOPOLOGY  topogen")
    assert "expected  circle: Z/2 (1,1), Z/3 (1,1)" in text
    assert "VERDICT   CONFIRMED" in text
    assert "NOT SHOWN features of subject smaller than" in text


def test_one_field_is_said_to_be_one(circle):
    found = verify(circle, expect="circle", fields=(2,))
    assert found.verdict is Verdict.CONFIRMED
    assert any("Klein bottle cannot be told from a torus" in line for line in found.not_shown)


def test_nothing_to_verify_against_is_refused(circle):
    with pytest.raises(InvalidInputError, match="against, expect: nothing to verify"):
        verify(circle)


def test_bad_arguments_are_named(circle):
    with pytest.raises(InvalidInputError, match="subject: 1 of 400 rows"):
        verify(torch.where(torch.arange(400).unsqueeze(1) == 7, torch.nan, circle), expect="circle")
    with pytest.raises(InvalidInputError, match="against"):
        verify(circle, torch.zeros(5))
    with pytest.raises(InvalidInputError, match="expect: unknown shape"):
        verify(circle, expect="tortoise")
    with pytest.raises(InvalidInputError, match="n_samples"):
        verify(Torus(), expect="torus", n_samples=1)
    with pytest.raises(BudgetExceeded):
        verify(circle, expect="circle", budget=Budget(max_bytes=10))


def test_inputs_and_global_randomness_are_left_alone(circle):
    before, state = circle.clone(), torch.get_rng_state()
    verify(circle, circle, "circle")
    assert torch.equal(circle, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_is_told_on_stderr_only_when_asked(circle, capsys):
    verify(circle, expect="circle")
    assert capsys.readouterr() == ("", "")
    verify(circle, expect="circle", quiet=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert "homology of subject: 400 points" in err


@pytest.mark.parametrize(("shape", "name"), [(Torus(), "a torus"), (KleinBottle(), "a Klein bottle"), (Circle(), "a circle")])
def test_a_shape_is_known_in_closed_form(shape, name):
    found = verify(shape, expect=name.removeprefix("a "), n_samples=100)
    assert found.verdict is Verdict.CONFIRMED
    assert found.label == "proved"
    assert found.summary == f"the subject is {name}"
    assert verify(shape, expect="genus 3", n_samples=100).exit_code == 1


def test_a_shape_against_a_cloud_tells_distances(circle):
    found = verify(Circle(), circle, n_samples=500)
    assert found.verdict is Verdict.CONFIRMED
    distance = next(claim for claim in found.claims if "distance of against to the manifold" in claim.text)
    assert distance.evidence["max"] < 1e-12
    assert distance.evidence["unconverged"] == 0


def circle_model(**more):
    """A model by duck typing: an implicit circle of radius 1 in the plane."""
    manifold = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 1, 2)
    volume = SimpleNamespace(value=2 * math.pi, standard_error=0.01, method="quadrature")
    calls = []

    def sample(n, generator=None):
        calls.append(n)
        return Circle().sample(n, generator)

    return SimpleNamespace(manifold=manifold, sample=sample, distribution=SimpleNamespace(volume=volume), calls=calls, **more)


def test_a_model_is_verified_by_its_samples():
    model = circle_model()
    found = verify(model, expect="circle")
    assert found.verdict is Verdict.CONFIRMED
    assert found.summary == "the subject is a circle"
    assert found.cost["subject points"] == sum(model.calls) == 10_000
    texts = [claim.text for claim in found.claims if not claim.decides]
    assert any(text.startswith("dimension 1: gap of the spectrum >= 5") for text in texts)
    assert any(text.startswith("kept residual of 2000 samples at most") for text in texts)
    assert any(text.startswith("1-dimensional volume 6.2832 with standard error 0.01") for text in texts)
    json.loads(found.to_json())


def test_samples_are_doubled_while_the_answer_is_open(monkeypatch):
    model = circle_model()
    monkeypatch.setattr("topogen.verification.evidence.manifolds.FIRST", 20)
    found = verify(model, expect="circle")
    assert len(model.calls) > 1
    assert model.calls[0] == 20
    assert found.verdict is Verdict.CONFIRMED


def test_the_number_of_samples_can_be_fixed():
    model = circle_model()
    found = verify(model, expect="circle", n_samples=20)
    assert model.calls == [20]
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_model_without_volume_leaves_it_undecided():
    model = circle_model()
    model.distribution = None
    found = verify(model, expect="circle", n_samples=1000)
    claim = next(claim for claim in found.claims if claim.text == "1-dimensional volume")
    assert claim.holds is None
    assert found.verdict is Verdict.CONFIRMED


def test_a_gated_manifold_reports_its_boundary_and_is_not_called_closed():
    model = circle_model()
    model.manifold = ImplicitManifold(model.manifold.constraint, 1, 2, gate=Gate(Circle().sample(500, generator()), 0.2, 3))
    found = verify(model, expect="circle", n_samples=1000)
    assert any("has a boundary" in claim.text for claim in found.claims)
    assert found.summary == "the subject has the homology of a circle"


def test_the_uniform_sampler_of_an_implicit_manifold_is_reproducible():
    manifold = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 1, 2)
    one, two = (verify(manifold, expect="circle", n_samples=1500, seed=3).to_dict() for _ in range(2))
    one.pop("cost"), two.pop("cost")
    assert one == two
    assert one["verdict"] == "CONFIRMED"
    volume = next(claim["evidence"] for claim in one["claims"] if "volume" in claim["text"])
    assert abs(volume["value"] - 2 * math.pi) < 5 * volume["standard_error"]  # false alarm below 1e-6 over seeds, the seed is fixed


def test_two_names_are_one_too_many(circle):
    with pytest.raises(InvalidInputError, match="both name a topology"):
        verify(circle, "circle", "torus")


def test_an_inconclusive_verdict_says_how_many_points_to_try(torus):
    found = verify(torus[:1500], expect="torus", dim=2, closed=True)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "needs eps <" in found.summary
    assert "points instead of 1,500" in found.summary
