"""The grid certificate inside `verify`: proved where the constraint can be bounded, a claim beside elsewhere, a refusal where there is nothing to bound."""

import json

import pytest
import torch
from constraints import learned_circle

from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.shapes import Circle, KleinBottle
from topogen.verification import Verdict, verify


@pytest.fixture(scope="module")
def circle():
    return learned_circle()


@pytest.fixture(scope="module")
def data():
    return Circle().sample(400, torch.Generator().manual_seed(0))


def grid_claims(found):
    return [claim for claim in found.claims if claim.text.startswith("grid certificate")]


def test_a_learned_constraint_is_confirmed_with_a_proof(circle, data):
    found = verify(circle, data, "circle", grid=64)
    assert found.verdict is Verdict.CONFIRMED
    assert found.claims[0].label == "proved"
    assert grid_claims(found)[0].holds
    assert "no part of the zero set lies outside of the box" in found.claims[0].assumption
    assert "zeros of the constraint outside of the box of the data" in found.not_shown
    json.loads(found.to_json())
    assert verify(circle, expect="hopf", grid=64).verdict is Verdict.REFUTED


def test_without_data_the_proof_carries_the_verdict(circle):
    found = verify(circle, expect="circle", grid=64)
    assert (found.verdict, found.label) == (Verdict.CONFIRMED, "proved")
    assert found.summary == "the subject is a circle"


def test_a_grid_too_coarse_leaves_the_samples_to_decide(circle):
    found = verify(circle, expect="circle", grid=8)
    assert found.verdict is Verdict.CONFIRMED
    assert found.claims[0].label != "proved"
    claim = grid_claims(found)[0]
    assert claim.holds is None
    assert "resolution" in claim.bound


def test_sampled_bounds_stand_beside(data):
    found = verify(ImplicitManifold(lambda x: (x**2).sum(-1, keepdim=True) - 1, 1, 2), data, grid=64, expect="circle")
    assert found.claims[0].label != "proved"
    assert grid_claims(found)[0].label == "heuristic"
    assert grid_claims(found)[0].holds


def test_where_there_is_no_grid(circle, data):
    gated = ImplicitManifold(circle.constraint, 1, gate=Gate(data, 0.3, 5))
    assert "boundary" in grid_claims(verify(gated, expect="circle", grid=64, n_samples=300))[0].text
    assert not grid_claims(verify(KleinBottle(), expect="klein", grid=64)), "a shape is known in closed form"


def test_a_cloud_has_nothing_to_bound(data):
    with pytest.raises(InvalidInputError, match="grid: 64 cells need a constraint"):
        verify(data, expect="circle", grid=64)


def test_against_takes_names_and_betti_numbers(data):
    for against in ("circle", (1, 1), "1,1", "sphere(1)"):
        assert verify(data, against).verdict is Verdict.CONFIRMED
    assert verify(data, "genus 2", density_ratio=1.1).verdict is Verdict.REFUTED
    assert verify(data, data).expected is None
