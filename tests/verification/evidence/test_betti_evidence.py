"""Two sides compared field by field, and the names of closed manifolds."""

import pytest

from topogen.errors import InvalidInputError
from topogen.topology.inference.expectations import parse_expectation
from topogen.verification import Verdict, closed_manifold_name
from topogen.verification.evidence.betti_evidence import BettiEvidence, check_primes, compare_evidence, evidence_of_expectation, signature
from topogen.verification.verdict import decide


def side(even, odd, *, complete=True, label="statistical", orientable=None):
    return BettiEvidence("subject", {2: even, 3: odd}, label, complete, orientable=orientable)


def verdict(one, expect, fields=(2, 3)):
    return decide([signature(one), *compare_evidence(one, evidence_of_expectation(parse_expectation(expect), fields), fields)])


KLEIN = side((1, 2, 1), (1, 1, 0))
TORUS = side((1, 2, 1), (1, 2, 1))


def test_planted_defect_a_klein_bottle_passes_for_a_torus_over_one_field_only():
    assert verdict(KLEIN, "torus", (2,)) is Verdict.CONFIRMED
    assert verdict(KLEIN, "torus") is Verdict.REFUTED
    assert verdict(KLEIN, "klein") is Verdict.CONFIRMED


SHAPES = ["circle", "sphere", "torus", "klein", "rp2", "genus 2", "two_spheres", "linked_circles", "so3", "sphere(3)"]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("other", SHAPES)
def test_every_shape_is_itself_and_no_other(name, other):
    shape = parse_expectation(name)
    found = verdict(side(shape.even, shape.odd), other)
    assert found is (Verdict.CONFIRMED if name == other else Verdict.REFUTED)


def test_one_decided_contradiction_refutes_whatever_else_is_open():
    assert verdict(side((2, None, None), (2, None, None)), "torus") is Verdict.REFUTED
    claims = compare_evidence(side((2, None), (2, None)), evidence_of_expectation(parse_expectation("circle"), (2, 3)), (2, 3))
    assert claims[0].bound == "2 against 1 components"


def test_undecided_degrees_are_named():
    one = side((1, None, 1), (1, 2, 1))
    assert verdict(one, "torus") is Verdict.INCONCLUSIVE
    assert compare_evidence(one, evidence_of_expectation(parse_expectation("torus"), (2, 3)), (2, 3))[0].bound == "not known in degree 1"


def test_degrees_above_those_computed_are_zero_only_where_known():
    assert verdict(side((1, 0), (1, 0)), "sphere") is Verdict.REFUTED
    assert verdict(side((1, 0), (1, 0), complete=False), "sphere") is Verdict.INCONCLUSIVE
    assert verdict(side((1, 1), (1, 1), complete=False), "circle") is Verdict.CONFIRMED


def test_equal_homology_with_another_orientability_cannot_be_confirmed():
    cylinder = side((1, 1, 0), (1, 1, 0), orientable=True)
    assert verdict(cylinder, "moebius") is Verdict.INCONCLUSIVE
    assert verdict(side((1, 1, 0), (1, 1, 0)), "moebius") is Verdict.CONFIRMED


def test_a_comparison_is_as_strong_as_its_weaker_side():
    claims = compare_evidence(side((1, 1), (1, 1), label="heuristic"), evidence_of_expectation(parse_expectation("circle"), (2, 3)), (2, 3))
    assert {claim.label for claim in claims} == {"heuristic"}


@pytest.mark.parametrize("fields", [(), (4,), (2, 2), (1,), (2.0,), (True,)])
def test_fields_are_different_primes(fields):
    with pytest.raises(InvalidInputError, match="fields: expected different primes"):
        check_primes(fields)


@pytest.mark.parametrize(
    ("even", "odd", "dim", "name"),
    [
        ((1, 1), (1, 1), 1, "a circle"),
        ((1, 0, 1), (1, 0, 1), 2, "a sphere"),
        ((1, 2, 1), (1, 2, 1), 2, "a torus"),
        ((1, 4, 1), (1, 4, 1), 2, "an orientable surface of genus 2"),
        ((1, 1, 1), (1, 0, 0), 2, "a projective plane"),
        ((1, 2, 1), (1, 1, 0), 2, "a Klein bottle"),
        ((1, 3, 1), (1, 2, 0), 2, "a non-orientable surface of genus 3"),
        ((1, 1, 0), (1, 1, 0), 2, None),
        ((2, 0, 2), (2, 0, 2), 2, None),
        ((1, 3, 1), (1, 3, 1), 2, None),
        ((1, None, 1), (1, 2, 1), 2, None),
        ((1, 0, 0, 1), (1, 0, 0, 1), 3, None),
    ],
)
def test_names_of_closed_manifolds(even, odd, dim, name):
    assert closed_manifold_name({2: even, 3: odd}, dim) == name


def test_one_field_names_no_surface():
    assert closed_manifold_name({2: (1, 2, 1)}, 2) is None
