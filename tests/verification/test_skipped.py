"""What was left out for its cost keeps a verdict open in so many words, and the option that takes it exists."""

import re

import pytest
import torch

from topogen.command.main import main
from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.manifolds.shapes import FlatTorus, Sphere, Torus
from topogen.points import write
from topogen.topology.inference import search
from topogen.topology.persistence.budget import Budget
from topogen.verification import Verdict, verify


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def landmarks_asked_for(text):
    return int(re.search(r"landmarks[= ](\d+)", text).group(1))


@pytest.fixture
def dear(monkeypatch):
    """Nothing is cheap enough to be looked at unasked."""
    monkeypatch.setattr(search, "RIPS_SECONDS", 1e-9)


def test_a_look_that_costs_too_much_is_named_and_can_be_had(dear):
    cloud = FlatTorus().sample(1500, seeded())
    left = verify(cloud, expect="torus", dim=2, closed=True, fields=(2,))
    assert left.verdict is Verdict.INCONCLUSIVE
    assert "left out" in left.summary and "predicted" in left.summary
    wanted = landmarks_asked_for(left.summary)
    taken = verify(cloud, expect="torus", dim=2, closed=True, fields=(2,), landmarks=wanted)
    assert taken.claims[0].evidence["n_landmarks"] == wanted
    assert "left out" not in taken.summary


def test_landmarks_above_the_budget_are_named():
    cloud = Torus().sample(3000, seeded())
    found = verify(cloud, expect="torus", budget=Budget(max_bytes=3_000_000))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "landmarks exceed the budget" in found.summary and "budget=" in found.summary


def test_so_many_landmarks_as_are_asked_for_are_taken_or_refused():
    cloud = Sphere().sample(2000, seeded())
    assert verify(cloud, expect="sphere", landmarks=300).claims[0].evidence["n_landmarks"] == 300
    with pytest.raises(BudgetExceeded, match="landmarks="):
        verify(cloud, expect="sphere", landmarks=900, budget=Budget(max_bytes=1_000_000))
    with pytest.raises(InvalidInputError, match="landmarks: expected at least 2"):
        verify(cloud, expect="sphere", landmarks=1)


def test_the_cost_is_told_before(capsys):
    verify(Sphere().sample(500, seeded()), expect="sphere", landmarks=200, quiet=False)
    assert "200 landmarks of subject: at most" in capsys.readouterr().err


def test_the_command_names_its_own_options_and_has_them(tmp_path, capsys, dear):
    write(tmp_path / "cloud.npy", FlatTorus().sample(1500, seeded()))
    call = ["verify", str(tmp_path / "cloud.npy"), "--expect", "torus", "--dim", "2", "--closed", "--fields", "2", "--quiet"]
    assert main(call) == 4
    said = capsys.readouterr().out
    assert "--landmarks " in said and "landmarks=" not in said
    main([*call, "--landmarks", str(landmarks_asked_for(said))])
    assert "left out" not in capsys.readouterr().out
    assert main([*call, "--landmarks", "1400", "--max-memory", "1K"]) == 4
    assert "--max-memory" in capsys.readouterr().err
