"""`verify_sheets`: is a set that is no manifold made of the smooth sheets that it should be made of?

The cloud is taken apart where its sheets cross (`topogen.strata.sheets`); each sheet is judged like a cloud of its own, and the expected
names are dealt to the sheets so that they fit best. The verdict rests on their number and on every one of them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.dimension import affine_hull, estimate_dimension
from topogen.strata import find_strata, sheets
from topogen.topology.budget import Budget
from topogen.topology.expectations import Expectation, parse
from topogen.verification.clouds import cloud_side
from topogen.verification.sides import Side, check_fields, compare, of_expectation, signature
from topogen.verification.singular import strata_claims
from topogen.verification.subjects import as_cloud
from topogen.verification.verdict import SCHEMA_VERSION, Claim, Verdict, betti_text, decide

__all__ = ["Sheet", "SheetsResult", "verify_sheets"]

MOST_SHEETS = 6
PRICE = {Verdict.CONFIRMED: 0, Verdict.INCONCLUSIVE: 1, Verdict.REFUTED: 10}


@dataclass(frozen=True)
class Sheet:
    """One smooth sheet: which points of the distinct cloud lie on it (`rows` (m,) int64, `points` (m, D)), what was `expected` of it (None: nothing left),
    its `betti` numbers by field, and the `claims` behind its `verdict`."""

    rows: Tensor
    points: Tensor
    expected: str | None
    betti: Any
    claims: tuple[Claim, ...]
    verdict: Verdict

    def to_text(self) -> str:
        """One line."""
        wanted = f" as {self.expected}" if self.expected else ""
        reason = "" if self.verdict is not Verdict.INCONCLUSIVE else "; " + next((c.bound for c in self.claims if c.holds is None and c.bound), "")[:160]
        return f"{len(self.rows)} points, {betti_text(self.betti)}: {self.verdict}{wanted} [{self.claims[0].label}]{reason}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, without the points."""
        betti = {str(p): list(numbers) for p, numbers in self.betti.items()}
        return {"size": len(self.rows), "expected": self.expected, "betti": betti, "verdict": self.verdict.value, "claims": [c.to_dict() for c in self.claims]}


@dataclass(frozen=True)
class SheetsResult:
    """The verdict on a set of several sheets: `sheets`, the largest first, and `claims`: their number (deciding) and where the set is no manifold."""

    verdict: Verdict
    sheets: tuple[Sheet, ...]
    claims: tuple[Claim, ...]
    seed: int | None

    @property
    def exit_code(self) -> int:
        """0 confirmed, 1 refuted, 4 inconclusive."""
        return self.verdict.exit_code

    def to_text(self) -> str:
        """The report for people."""
        lines = [claim.to_text() for claim in self.claims] + [f"sheet {i}: {sheet.to_text()}" for i, sheet in enumerate(self.sheets, 1)]
        return "\n".join([*lines, f"VERDICT   {self.verdict.value}"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        parts = {"sheets": [sheet.to_dict() for sheet in self.sheets], "claims": [claim.to_dict() for claim in self.claims]}
        return {"schema_version": SCHEMA_VERSION, "verdict": self.verdict.value, "exit_code": self.exit_code, **parts, "seed": self.seed}

    def to_json(self) -> str:
        """One JSON document of `to_dict`, without NaN or Infinity."""
        return json.dumps(self.to_dict(), allow_nan=False, indent=2)


def verify_sheets(
    points: Any,
    expect: Sequence[str | Sequence[int]],
    *,
    dim: int | None = None,
    fields: Sequence[int] = (2, 3),
    seed: int = 0,
    generator: torch.Generator | None = None,
    budget: Budget | None = None,
) -> SheetsResult:
    """Verify that a cloud (n, D) is made of smooth sheets with the expected topologies, in any order, such as ("sphere", "klein_bottle").

    `dim` is the dimension of the sheets, 2 or more, estimated where None. Raises InvalidInputError for clouds that cannot be used and for no or more
    than six expectations; NotSupportedError for curves.
    """
    primes = check_fields(fields)
    wanted = _expectations(expect)
    source = generator if generator is not None else torch.Generator().manual_seed(seed)
    cloud = torch.unique(as_cloud(points, "points"), dim=0)
    inside = affine_hull(cloud).coordinates(cloud)
    known = dim if dim is not None else estimate_dimension(cloud, generator=source).dim
    strata = find_strata(inside, known)
    found = sheets(inside, known, strata)
    rows = [found.members[:, s].nonzero().squeeze(1) for s in range(found.members.shape[1])]
    sides = [cloud_side("sheet", cloud[own], primes, dim=known, budget=budget, generator=source) for own in rows]
    dealt = _dealt(sides, wanted, primes)
    parts = tuple(_sheet(own, cloud[own], side, expected, primes) for own, side, expected in zip(rows, sides, dealt, strict=True))
    count = _count(len(parts), len(wanted), found.agreement, found.pieces)
    verdict = decide([count, *(claim for part in parts for claim in part.claims)])
    return SheetsResult(verdict, parts, (count, *strata_claims("the set", inside, known, strata)), seed if generator is None else None)


def _expectations(expect: Sequence[str | Sequence[int]]) -> list[Expectation]:
    if isinstance(expect, str) or not 1 <= len(expect) <= MOST_SHEETS:
        raise InvalidInputError(f"expect: expected 1 to {MOST_SHEETS} names, one for each sheet, such as ('sphere', 'torus'), found {expect!r}")
    return [parse(name) for name in expect]


def _dealt(sides: Sequence[Side], wanted: Sequence[Expectation], primes: tuple[int, ...]) -> list[Expectation | None]:
    """The expectations in the order of the sheets that they fit best; None for sheets that are left over."""
    places = max(len(sides), len(wanted))
    if places > MOST_SHEETS:
        return [*wanted[: len(sides)], *[None] * (len(sides) - len(wanted))]
    prices = [[PRICE[decide(compare(side, of_expectation(name, primes), primes))] for name in wanted] for side in sides]
    slots = [*range(len(wanted)), *[-1] * (places - len(wanted))]

    def price(order: tuple[int, ...]) -> int:
        return sum(prices[i][j] for i, j in enumerate(order[: len(sides)]) if j >= 0)

    best = min(itertools.permutations(slots), key=price)
    return [wanted[j] if j >= 0 else None for j in best[: len(sides)]]


def _sheet(rows: Tensor, points: Tensor, side: Side, expected: Expectation | None, primes: tuple[int, ...]) -> Sheet:
    claims = (signature(side), *(() if expected is None else compare(side, of_expectation(expected, primes), primes)), *side.beside)
    return Sheet(rows, points, None if expected is None else expected.name, side.betti, claims, decide(claims))


def _count(found: int, wanted: int, agreement: float, pieces: int) -> Claim:
    text = f"the set is made of {found} smooth sheet{'s' * (found != 1)}, expected {wanted}"
    bound = f"{pieces} pieces when cut where sheets cross; {agreement:.0%} of the places agree how they go on"
    return Claim(text, "heuristic", found == wanted, bound, "sheets cross at 45 degrees or more", {"agreement": agreement, "pieces": pieces}, decides=True)
