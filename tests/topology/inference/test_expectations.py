"""Names and Betti numbers that a user may expect."""

from __future__ import annotations

import pytest

from topogen.errors import InvalidInputError
from topogen.topology.inference.expectations import NAMES, Expectation, parse_expectation


@pytest.mark.parametrize(
    ("text", "even", "odd"),
    [
        ("circle", (1, 1), (1, 1)),
        ("Torus", (1, 2, 1), (1, 2, 1)),
        ("flat_torus(3)", (1, 3, 3, 1), (1, 3, 3, 1)),
        ("klein_bottle", (1, 2, 1), (1, 1, 0)),
        ("klein bottle", (1, 2, 1), (1, 1, 0)),
        ("klein", (1, 2, 1), (1, 1, 0)),
        ("rp2", (1, 1, 1), (1, 0, 0)),
        ("projective-plane", (1, 1, 1), (1, 0, 0)),
        ("genus 2", (1, 4, 1), (1, 4, 1)),
        ("genus_two", (1, 4, 1), (1, 4, 1)),
        ("genus(2)", (1, 4, 1), (1, 4, 1)),
        ("sphere", (1, 0, 1), (1, 0, 1)),
        ("sphere(3)", (1, 0, 0, 1), (1, 0, 0, 1)),
        ("s3", (1, 0, 0, 1), (1, 0, 0, 1)),
        ("three_sphere", (1, 0, 0, 1), (1, 0, 0, 1)),
        ("moebius", (1, 1, 0), (1, 1, 0)),
        ("so3", (1, 1, 1, 1), (1, 0, 0, 1)),
        ("SO(3)", (1, 1, 1, 1), (1, 0, 0, 1)),
        ("special_orthogonal", (1, 1, 1, 1), (1, 0, 0, 1)),
        ("two_spheres", (2, 0, 2), (2, 0, 2)),
        ("hopf", (2, 2), (2, 2)),
        ("trefoil", (1, 1), (1, 1)),
        ("swiss_roll", (1, 0, 0), (1, 0, 0)),
        ("disc", (1, 0, 0), (1, 0, 0)),
        ("1,2,1", (1, 2, 1), (1, 2, 1)),
        (" (1, 0, 1) ", (1, 0, 1), (1, 0, 1)),
        ((1, 2, 1), (1, 2, 1), (1, 2, 1)),
        ([2], (2,), (2,)),
    ],
)
def test_reads(text: object, even: tuple[int, ...], odd: tuple[int, ...]) -> None:
    expectation = parse_expectation(text)  # type: ignore[arg-type]
    assert expectation.betti == {2: even, 3: odd}
    assert expectation.over(2) == even
    assert expectation.over(5) == odd


def euler(betti: tuple[int, ...]) -> int:
    return sum((-1) ** k * b for k, b in enumerate(betti))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_laws_of_every_name(name: str) -> None:
    e = NAMES[name]
    assert euler(e.even) == euler(e.odd)
    if e.closed:
        assert e.even == e.even[::-1]
        assert e.dim == len(e.even) - 1
        assert (e.odd == e.odd[::-1]) == e.orientable


def test_trailing_zeros_do_not_matter() -> None:
    e = parse_expectation("moebius")
    assert e.matches((1, 1), 2)
    assert e.matches((1, 1, 0, 0), 3)
    assert not e.matches((1, 1, 1), 2)


def test_numbers_say_nothing_else() -> None:
    e = parse_expectation("1,2,1")
    assert (e.dim, e.orientable, e.closed) == (None, None, None)
    assert isinstance(e, Expectation)
    assert e.to_dict()["betti"] == {"2": [1, 2, 1], "3": [1, 2, 1]}


@pytest.mark.parametrize(
    ("bad", "hint"),
    [
        ("toruss", "torus"),
        ("klien bottle", "klein_bottle"),
        ("xyzzyx", "known are"),
        ("1,-2", ">= 0"),
        ("1 2 1", "commas"),
        ((), ">= 0"),
        ((1, 0.5), ">= 0"),
        ("sphere(0)", "dimension"),
    ],
)
def test_refuses_with_a_way_out(bad: object, hint: str) -> None:
    with pytest.raises(InvalidInputError, match=hint):
        parse_expectation(bad)  # type: ignore[arg-type]
