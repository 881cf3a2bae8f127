"""Poincare duality: completion, orientability and contradictions on the closed manifolds whose numbers are known."""

from __future__ import annotations

import pytest

from topogen.topology.inference.duality import complete, contradiction, euler, orientability

SO3 = {2: (1, 1, 1, 1), 3: (1, 0, 0, 1)}
S3 = {2: (1, 0, 0, 1), 3: (1, 0, 0, 1)}
TORUS = {2: (1, 2, 1), 3: (1, 2, 1)}
KLEIN = {2: (1, 2, 1), 3: (1, 1, 0)}
PLANE = {2: (1, 1, 1), 3: (1, 0, 0)}


@pytest.mark.parametrize("truth", [SO3, S3, TORUS, KLEIN, PLANE])
def test_completes_from_the_lower_half(truth: dict[int, tuple[int, ...]]) -> None:
    dim = len(truth[2]) - 1
    filled, notes = complete({p: b[:2] for p, b in truth.items()}, dim, None)
    assert filled == truth
    assert notes
    assert not contradiction(truth, dim, True, all_degrees=True)


def test_three_torus_needs_to_be_told() -> None:
    filled, notes = complete({2: (1, 3), 3: (1, 3)}, 3, None)
    assert filled == {2: (1, 3, 3, 1), 3: (1, 3, None, None)}
    assert any("orientable=" in note for note in notes)
    assert complete({2: (1, 3), 3: (1, 3)}, 3, True)[0][3] == (1, 3, 3, 1)


@pytest.mark.parametrize(
    ("numbers", "dim", "answer"),
    [(KLEIN, 2, False), (PLANE, 2, False), (TORUS, 2, True), (SO3, 3, True), ({2: (1, 3), 3: (1, 3)}, 3, None), ({2: (1, 1)}, 3, None)],
)
def test_orientability(numbers: dict[int, tuple[int | None, ...]], dim: int, answer: bool | None) -> None:
    assert orientability(numbers, dim)[0] is answer


@pytest.mark.parametrize(
    ("numbers", "dim", "word"),
    [({2: (1, 0, 0)}, 2, "closed"), ({2: (1, 2, 1), 3: (1, 1, 1)}, 2, "Euler"), ({2: (1, None), 3: (2, None)}, None, "components")],
)
def test_contradictions(numbers: dict[int, tuple[int | None, ...]], dim: int | None, word: str) -> None:
    assert word in contradiction(numbers, dim, True, all_degrees=dim is not None)


def test_truncated_numbers_have_no_euler_characteristic() -> None:
    assert not contradiction({p: b[:2] for p, b in SO3.items()}, None, None, all_degrees=False)
    assert euler((1, None)) is None
