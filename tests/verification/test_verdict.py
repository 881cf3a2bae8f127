"""Verdicts follow from claims; texts and JSON say what was found."""

import json
import math

import pytest

from topogen.errors import InvalidInputError
from topogen.verification import Claim, Result, Verdict
from topogen.verification.verdict import SCHEMA_VERSION, decide


def claim(holds, label="statistical", decides=True):
    return Claim("it is so", label, holds, "0.1 units", "reach > 1", {"value": 1.5}, decides)


def result(*claims):
    verdict = decide(claims)
    return Result(
        verdict, claims, ("the rest",), "10 x 3 points", {2: (1, None)}, None, {2: (1, 1)}, "circle", "so it is", {"seconds": 0.5}, 0, {"topogen": "0"}
    )


@pytest.mark.parametrize(
    ("answers", "verdict", "code"),
    [
        ([True, True], Verdict.CONFIRMED, 0),
        ([True, False], Verdict.REFUTED, 1),
        ([None, False], Verdict.REFUTED, 1),
        ([True, None], Verdict.INCONCLUSIVE, 4),
        ([], Verdict.INCONCLUSIVE, 4),
    ],
)
def test_the_verdict_is_what_the_deciding_claims_carry(answers, verdict, code):
    found = result(*map(claim, answers))
    assert found.verdict is verdict
    assert found.exit_code == code


def test_heuristic_evidence_against_leaves_the_verdict_open():
    assert result(claim(True), claim(False, "heuristic")).verdict is Verdict.INCONCLUSIVE
    assert result(claim(None), claim(False, "heuristic")).verdict is Verdict.INCONCLUSIVE
    for label in ("proved", "proved-for-sample", "statistical"):
        assert result(claim(False, label), claim(False, "heuristic")).verdict is Verdict.REFUTED


def test_claims_beside_do_not_decide():
    assert result(claim(True), claim(False, decides=False)).verdict is Verdict.CONFIRMED
    assert result(claim(None), claim(True, decides=False)).verdict is Verdict.INCONCLUSIVE
    assert result(claim(False, decides=False)).verdict is Verdict.INCONCLUSIVE


def test_strength_is_the_weakest_support_or_the_strongest_contradiction():
    assert result(claim(True, "proved"), claim(True, "heuristic")).label == "heuristic"
    assert result(claim(False, "heuristic"), claim(False, "proved-for-sample")).label == "proved-for-sample"
    assert result(claim(None, "proved")).label is None


def test_a_result_shows_itself_in_a_line():
    assert repr(result(claim(True))) == "<Result CONFIRMED [statistical]: so it is; 1 claims, see to_text()>"
    assert "evidence" not in repr(claim(True))


def test_a_result_is_no_boolean():
    with pytest.raises(TypeError, match=r"result\.verdict"):
        bool(result(claim(True)))


def test_a_verdict_is_a_string():
    assert Verdict.CONFIRMED == "CONFIRMED"
    assert str(Verdict.REFUTED) == "REFUTED"


def test_unknown_labels_are_refused():
    with pytest.raises(InvalidInputError, match="label: expected one of proved"):
        claim(True, "certain")


def test_text_has_one_line_per_claim_and_names_its_units():
    lines = result(claim(True), claim(None, "heuristic")).to_text().splitlines()
    assert "data units" in lines[0]
    assert "[statistical] holds: it is so; 0.1 units; assumes reach > 1" in lines
    assert "[heuristic] not decided: it is so; 0.1 units; assumes reach > 1" in lines
    assert "subject   10 x 3 points: Z/2 (1,?)" in lines
    assert any(line.startswith("VERDICT   INCONCLUSIVE") for line in lines)
    assert "NOT SHOWN the rest" in lines


def test_json_round_trip():
    found = result(Claim("far", "proved", True, evidence={"gap": math.inf, "list": (1, 2.5), 3: None}), claim(True))
    document = json.loads(found.to_json())
    assert document == found.to_dict()
    assert document["schema_version"] == SCHEMA_VERSION
    assert document["verdict"] == "CONFIRMED"
    assert document["exit_code"] == 0
    assert document["subject"]["betti"] == {"2": [1, None]}
    assert document["expected"] == {"name": "circle", "betti": {"2": [1, 1]}}
    assert document["claims"][0]["evidence"] == {"gap": None, "list": [1, 2.5], "3": None}
