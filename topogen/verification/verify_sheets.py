"""`verify_sheets`: is a set that is no manifold made of the smooth sheets that it should be made of?

Points of different local dimension are told apart first, by their spectra; then the cloud is taken apart where its sheets cross
(`topogen.topology.strata.strata.sheets`). Each sheet is judged like a cloud of its own, and the expected names are dealt to the sheets so that they fit
best. The verdict rests on the number of sheets and on every one of them.
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
from topogen.geometry.clouds.dimension import affine_hull, estimate_dimension, local_dimensions
from topogen.geometry.clouds.point_clouds import distinct_rows
from topogen.topology.inference.expectations import Expectation, parse_expectation
from topogen.topology.inference.homology import LEVEL
from topogen.topology.persistence.budget import Budget
from topogen.topology.strata.strata import find_strata, sheets
from topogen.verification.claims import make_claim
from topogen.verification.evidence.betti_evidence import BettiEvidence, check_primes, compare_evidence, evidence_of_expectation, signature
from topogen.verification.evidence.clouds import cloud_evidence
from topogen.verification.evidence.inputs import as_cloud
from topogen.verification.evidence.singular_sets import strata_claims
from topogen.verification.verdict import SCHEMA_VERSION, Claim, Verdict, betti_text, decide, each

__all__ = ["Sheet", "SheetsResult", "verify_sheets"]

MOST_SHEETS, LEAST = 6, 24
PRICE = {True: 0, None: 1, False: 10}


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
    density_ratio: float | None = None,
    seed: int = 0,
    generator: torch.Generator | None = None,
    budget: Budget | None = None,
) -> SheetsResult:
    """Verify that a cloud (n, D) is made of smooth sheets with the expected topologies, in any order, such as ("sphere", "klein_bottle").

    `dim` is the dimension of all sheets; where None it is estimated, and points of different local dimensions are told apart first. Curves are not taken
    apart where they cross. `density_ratio` as in `verify`, of each sheet; the level is shared by all.
    Raises InvalidInputError for clouds that cannot be used and for no or more than six expectations.
    """
    primes = check_primes(fields)
    wanted = _expectations(expect)
    source = generator if generator is not None else torch.Generator().manual_seed(seed)
    cloud = distinct_rows(as_cloud(points, "points"))
    parts = [_part(cloud, rows, d) for d, rows in _by_dimension(cloud, dim, source)]
    found = [(part.dim, rows) for part in parts for rows in part.sheets]
    known = {"density_ratio": density_ratio, "level": each(LEVEL, len(found)), "budget": budget, "generator": source}
    sides = [cloud_evidence("sheet", cloud[rows], primes, dim=d, **known) for d, rows in found]  # type: ignore[arg-type]
    dealt = _dealt(sides, wanted, primes)
    judged = tuple(_sheet(rows, cloud[rows], side, name, primes) for (_, rows), side, name in zip(found, sides, dealt, strict=True))
    count = _count(found, len(wanted), parts)
    verdict = decide([count, *(claim for sheet in judged for claim in sheet.claims)])
    return SheetsResult(verdict, judged, (count, *(claim for part in parts for claim in part.claims)), seed if generator is None else None)


@dataclass(frozen=True)
class _Part:
    """The points of one dimension: rows of their smooth sheets, how surely these go on across crossings, into how many pieces they are cut, claims."""

    dim: int
    sheets: list[Tensor]
    agreement: float
    pieces: int
    claims: tuple[Claim, ...]


def _by_dimension(cloud: Tensor, dim: int | None, generator: torch.Generator) -> list[tuple[int, Tensor]]:
    """Dimensions, the highest first, and the rows of the cloud that have them."""
    everything = torch.arange(len(cloud))
    if dim is not None:
        return [(dim, everything)]
    estimate = estimate_dimension(cloud, generator=generator)
    if len(estimate.mixed) < 2:
        return [(estimate.dim, everything)]
    local = local_dimensions(cloud, estimate.k, estimate.mixed)
    return [(d, (local == d).nonzero().squeeze(1)) for d in sorted(estimate.mixed, reverse=True) if int((local == d).sum()) >= LEAST]


def _part(cloud: Tensor, rows: Tensor, dim: int) -> _Part:
    own = cloud[rows]
    inside = affine_hull(own).coordinates(own)
    strata = find_strata(inside, dim) if dim < inside.shape[1] else ()
    claims = strata_claims("the set", inside, dim, strata)
    if dim < 2 or not strata:  # curves are not taken apart
        return _Part(dim, [rows], 1.0, 1, claims)
    found = sheets(inside, dim, strata)
    return _Part(dim, [rows[mask] for mask in found.members.T], found.agreement, found.pieces, claims)


def _expectations(expect: Sequence[str | Sequence[int]]) -> list[Expectation]:
    if isinstance(expect, str) or not 1 <= len(expect) <= MOST_SHEETS:
        raise InvalidInputError(f"expect: expected 1 to {MOST_SHEETS} names, one for each sheet, such as ('sphere', 'torus'), found {expect!r}")
    return [parse_expectation(name) for name in expect]


def _dealt(sides: Sequence[BettiEvidence], wanted: Sequence[Expectation], primes: tuple[int, ...]) -> list[Expectation | None]:
    """The expectations in the order of the sheets that they fit best; None for sheets that are left over."""
    places = max(len(sides), len(wanted))
    if places > MOST_SHEETS:
        return [*wanted[: len(sides)], *[None] * (len(sides) - len(wanted))]
    prices = [[max(PRICE[claim.holds] for claim in compare_evidence(side, evidence_of_expectation(name, primes), primes)) for name in wanted] for side in sides]
    slots = [*range(len(wanted)), *[-1] * (places - len(wanted))]

    def price(order: tuple[int, ...]) -> int:
        return sum(prices[i][j] for i, j in enumerate(order[: len(sides)]) if j >= 0)

    best = min(itertools.permutations(slots), key=price)
    return [wanted[j] if j >= 0 else None for j in best[: len(sides)]]


def _sheet(rows: Tensor, points: Tensor, side: BettiEvidence, expected: Expectation | None, primes: tuple[int, ...]) -> Sheet:
    claims = (signature(side), *(() if expected is None else compare_evidence(side, evidence_of_expectation(expected, primes), primes)), *side.beside)
    return Sheet(rows, points, None if expected is None else expected.name, side.betti, claims, decide(claims))


def _count(found: list[tuple[int, Tensor]], wanted: int, parts: Sequence[_Part]) -> Claim:
    dims = ", ".join(str(d) for d, _ in found)
    pieces, agreement = sum(part.pieces for part in parts), min(part.agreement for part in parts)
    text = f"the set is made of {len(found)} smooth sheet{'s' * (len(found) != 1)}, of dimension {dims}; expected {wanted}"
    bound = f"{pieces} pieces when cut where sheets cross; {agreement:.0%} of the places agree how they go on"
    evidence = {"agreement": agreement, "pieces": pieces}
    return make_claim("sheets", text, len(found) == wanted, bound, "sheets cross at 45 degrees or more", evidence, decides=True)
