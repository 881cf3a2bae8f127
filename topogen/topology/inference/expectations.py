"""What a user expects a cloud to be: a name or Betti numbers, read into Betti numbers over every field.

Over Z/p the Betti numbers of a space follow from its integral homology: beta_k(Z/p) counts the free part of H_k and the p-torsion of
H_k and H_(k-1). Only 2-torsion occurs in the shapes named here (Klein bottle, projective plane, SO(3)), so fields other than Z/2
see the rational Betti numbers. Hatcher (2002), Algebraic Topology, section 3.A.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from topogen.errors import InvalidInputError

__all__ = ["Expectation", "parse_expectation"]


@dataclass(frozen=True)
class Expectation:
    """An expected topology: Betti numbers over Z/2 (`even`) and over every other prime field (`odd`), and what else the name says.

    `orientable`, `dim` and `closed` are None where the expectation does not say.
    """

    name: str
    even: tuple[int, ...]
    odd: tuple[int, ...]
    orientable: bool | None = None
    dim: int | None = None
    closed: bool | None = None

    @property
    def betti(self) -> dict[int, tuple[int, ...]]:
        """Betti numbers over the default fields 2 and 3."""
        return {2: self.even, 3: self.odd}

    def over(self, field: int) -> tuple[int, ...]:
        """Betti numbers over Z/p, p = `field`."""
        return self.even if field == 2 else self.odd

    def matches(self, betti: Sequence[int], field: int) -> bool:
        """Whether Betti numbers over Z/p are the expected ones, trailing zeros aside."""
        return _trimmed(betti) == _trimmed(self.over(field))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "name": self.name,
            "betti": {str(p): list(b) for p, b in self.betti.items()},
            "orientable": self.orientable,
            "dim": self.dim,
            "closed": self.closed,
        }


def parse_expectation(expect: str | Sequence[int]) -> Expectation:
    """Read a name ("torus", "klein", "rp2", "genus 2", "sphere(3)", ...) or Betti numbers ("1,2,1" or (1, 2, 1), over every field).

    Raises InvalidInputError for an unknown name (near matches are listed) or Betti numbers that are not integers >= 0.
    """
    if not isinstance(expect, str):
        return _from_numbers(expect)
    if re.fullmatch(r"[\s\d,()\[\]+-]+", expect):
        return _from_text(expect)
    words = re.sub(r"[^a-z0-9]+", "_", expect.lower()).strip("_")
    for pattern, family in FAMILIES:
        found = re.fullmatch(pattern, words)
        if found:
            return family(int(found.group(1)))
    if words not in NAMES:
        _unknown(expect, words)
    return NAMES[words]


def _from_text(text: str) -> Expectation:
    parts = text.strip(" ()[]").split(",")
    if not all(re.fullmatch(r"\s*[+-]?\d+\s*", part) for part in parts):
        raise InvalidInputError(f"expect: cannot read {text!r} as Betti numbers; write them with commas, such as '1,2,1'")
    return _from_numbers([int(part) for part in parts])


def _from_numbers(numbers: Sequence[int]) -> Expectation:
    betti = tuple(numbers)
    if not betti or any(isinstance(b, bool) or not isinstance(b, int) or b < 0 for b in betti):
        raise InvalidInputError(f"expect: Betti numbers are integers >= 0, one for each degree from 0, found {betti}; for example (1, 2, 1)")
    return Expectation(",".join(map(str, betti)), betti, betti)


def _unknown(expect: str, words: str) -> None:
    near = difflib.get_close_matches(words, NAMES, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known are {', '.join(sorted({e.name for e in NAMES.values()}))}"
    raise InvalidInputError(f"expect: unknown shape {expect!r}; {hint} Betti numbers such as '1,2,1' are understood as well")


def _sphere(dim: int) -> Expectation:
    if dim < 1:
        raise InvalidInputError(f"expect: a connected sphere has dimension 1 or more, found {dim}")
    betti = (1, *(0,) * (dim - 1), 1)
    return Expectation("circle" if dim == 1 else "sphere" if dim == 2 else f"sphere({dim})", betti, betti, True, dim, True)


def _genus(genus: int) -> Expectation:
    name = {0: "sphere", 1: "torus"}.get(genus, f"genus({genus})")
    return Expectation(name, (1, 2 * genus, 1), (1, 2 * genus, 1), True, 2, True)


def _flat_torus(dim: int) -> Expectation:
    from math import comb

    betti = tuple(comb(dim, k) for k in range(dim + 1))
    return Expectation(f"flat_torus({dim})", betti, betti, True, dim, True)


def _trimmed(betti: Sequence[int]) -> tuple[int, ...]:
    numbers = list(betti)
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _aliased(expectation: Expectation, *aliases: str) -> dict[str, Expectation]:
    return dict.fromkeys((re.sub(r"[^a-z0-9]+", "_", expectation.name).strip("_"), *aliases), expectation)


FAMILIES = (
    (r"(?:sphere|s)_?(\d+)", _sphere),
    (r"(?:genus|surface_of_genus)_?(\d+)", _genus),
    (r"(?:flat_)?torus_?(\d+)", _flat_torus),
)
NAMES: dict[str, Expectation] = {
    **_aliased(_sphere(1), "ring", "loop"),
    **_aliased(Expectation("trefoil", (1, 1), (1, 1), True, 1, True), "trefoil_knot", "knot"),
    **_aliased(Expectation("figure_eight", (1, 2), (1, 2), None, 1), "eight", "wedge_of_two_circles"),
    **_aliased(Expectation("linked_circles", (2, 2), (2, 2), True, 1, True), "hopf", "hopf_link", "two_circles"),
    **_aliased(_sphere(2)),
    **_aliased(_sphere(3), "three_sphere"),
    **_aliased(_genus(1)),
    **_aliased(Expectation("flat_torus", (1, 2, 1), (1, 2, 1), True, 2, True), "clifford_torus"),
    **_aliased(_genus(2), "genus_two", "double_torus"),
    **_aliased(Expectation("two_spheres", (2, 0, 2), (2, 0, 2), True, 2, True)),
    **_aliased(Expectation("klein_bottle", (1, 2, 1), (1, 1, 0), False, 2, True), "klein"),
    **_aliased(Expectation("projective_plane", (1, 1, 1), (1, 0, 0), False, 2, True), "rp2", "real_projective_plane"),
    **_aliased(Expectation("moebius_band", (1, 1, 0), (1, 1, 0), False, 2, False), "moebius", "mobius", "mobius_band", "moebius_strip", "mobius_strip"),
    **_aliased(Expectation("special_orthogonal", (1, 1, 1, 1), (1, 0, 0, 1), True, 3, True), "so3", "so_3", "special_orthogonal_3", "rotations"),
    **_aliased(Expectation("swiss_roll", (1, 0, 0), (1, 0, 0), True, 2, False)),
    **_aliased(Expectation("disc", (1, 0, 0), (1, 0, 0), True, 2, False), "disk"),
}
