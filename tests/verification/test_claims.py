"""Every claim comes from the register, every entry is used and documented, and its label cannot be another."""

import ast
import pathlib

import pytest

import topogen
from topogen.errors import InvalidInputError
from topogen.verification.claims import REGISTER, make_claim
from topogen.verification.verdict import LABELS

ROOT = pathlib.Path(topogen.__file__).parent
HOME = {"claims.py", "verdict.py"}


def calls(name):
    """The calls of a name in the package, with the file that each is in."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name:
                yield path, node


def test_no_claim_is_made_past_the_register():
    assert [f"{path.name}:{node.lineno}" for path, node in calls("Claim") if path.name not in HOME] == []


def test_every_call_names_an_entry_and_every_entry_is_used():
    made = [(path, node) for path, node in calls("make_claim") if path.name not in HOME]
    assert len(made) > 20, "calls were not found"
    keys = [node.args[0].value for _, node in made if isinstance(node.args[0], ast.Constant)]
    assert len(keys) == len(made), "a key must be written where the claim is made"
    assert set(keys) == set(REGISTER)


def test_labels_are_no_strings_at_the_call_but_of_several():
    for path, node in calls("make_claim"):
        named = [word.value.value for word in node.keywords if word.arg == "label" and isinstance(word.value, ast.Constant)]
        if named and path.name not in HOME:
            entry = REGISTER[node.args[0].value]
            assert len(entry.labels) > 1 and named[0] in entry.labels, f"{path.name}:{node.lineno}"


def test_entries_are_whole_and_documented():
    text = (ROOT.parent / "docs" / "verdicts.md").read_text(encoding="utf-8")
    for key, entry in REGISTER.items():
        assert entry.labels and set(entry.labels) <= set(LABELS)
        assert f"| {key} | {entry.says} | {', '.join(entry.labels)} | {entry.ground} |" in text


def test_other_labels_and_keys_are_refused():
    assert make_claim("window", "so it is", True).label == "proved-for-sample"
    with pytest.raises(InvalidInputError, match="may be statistical"):
        make_claim("ghosts", "none", True, label="proved")
    with pytest.raises(InvalidInputError, match="no claim is registered"):
        make_claim("new", "so it is", True)
    with pytest.raises(InvalidInputError, match="label"):
        make_claim("grid", "so it is", True)
