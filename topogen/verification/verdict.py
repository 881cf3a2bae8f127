"""A verdict and what it rests on: claims with a label each, never a bare boolean.

    REFUTED        some deciding claim fails, and its label is better than heuristic
    CONFIRMED      every deciding claim is known to hold, and no claim that it needs fails
    INCONCLUSIVE   otherwise; the undecided claims name the number that would decide them

Labels, strongest first: "proved" (of the object itself), "proved-for-sample" (a theorem about the points given), "statistical" (a bound that
holds with a stated confidence under the assumption), "heuristic" (evidence without such a bound). A CONFIRMED verdict is as strong as its
weakest deciding claim, a REFUTED one as its strongest contradiction. Heuristic evidence against a subject leaves the verdict open.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from topogen.errors import InvalidInputError

__all__ = ["LABELS", "SCHEMA_VERSION", "Betti", "Claim", "Result", "Verdict", "betti_text", "decide", "weakest"]

SCHEMA_VERSION = 1
LABELS = ("proved", "proved-for-sample", "statistical", "heuristic")

Betti = Mapping[int, "tuple[int | None, ...]"]


class Verdict(enum.StrEnum):
    """CONFIRMED, REFUTED or INCONCLUSIVE; a string as well."""

    CONFIRMED = "CONFIRMED"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """0 confirmed, 1 refuted, 4 inconclusive."""
        return {"CONFIRMED": 0, "REFUTED": 1, "INCONCLUSIVE": 4}[self.value]


@dataclass(frozen=True)
class Claim:
    """One statement: `text`, its `label` (one of LABELS), whether it `holds` (None: not decided), its `bound` (a number with its unit in words),
    the `assumption` it is made under, JSON-able `evidence`, whether the verdict rests on it (`decides`), whether nothing is confirmed where it fails
    (`needed`), and the `key` of its entry in the register of claims.
    """

    text: str
    label: str
    holds: bool | None
    bound: str = ""
    assumption: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict, repr=False)
    decides: bool = False
    needed: bool = False
    key: str = ""

    def __post_init__(self) -> None:
        if self.label not in LABELS:
            raise InvalidInputError(f"label: expected one of {', '.join(LABELS)}, found {self.label!r}")

    def to_text(self) -> str:
        """One line: label, answer, text, bound, assumption."""
        answer = {True: "holds", False: "FAILS", None: "not decided"}[self.holds]
        parts = [self.text, self.bound, f"assumes {self.assumption}" if self.assumption else ""]
        return f"[{self.label}] {answer}: " + "; ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        plain = {name: getattr(self, name) for name in ("key", "text", "label", "holds", "bound", "assumption", "decides", "needed")}
        return {**plain, "evidence": _plain(self.evidence)}


@dataclass(frozen=True, repr=False)
class Result:
    """A verdict with everything it rests on.

    `claims`: deciding ones and those that stand beside; `not_shown`: what was not shown, in words; `subject_betti`, `against_betti`, `expected`: Betti
    numbers by field from degree 0 (an entry None: undecided; None as a whole: there was no such side); `summary`: the verdict in one sentence;
    `cost`: seconds and numbers of points; `seed`; `versions` of the libraries used.
    """

    verdict: Verdict
    claims: tuple[Claim, ...]
    not_shown: tuple[str, ...]
    subject: str
    subject_betti: Betti
    against_betti: Betti | None
    expected: Betti | None
    expected_name: str | None
    summary: str
    cost: Mapping[str, float]
    seed: int | None
    versions: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        """0 confirmed, 1 refuted, 4 inconclusive."""
        return self.verdict.exit_code

    @property
    def label(self) -> str | None:
        """Strength of the verdict: the weakest deciding claim if CONFIRMED, the strongest contradiction if REFUTED, None if INCONCLUSIVE."""
        if self.verdict is Verdict.INCONCLUSIVE:
            return None
        if self.verdict is Verdict.CONFIRMED:
            return weakest(*(c.label for c in self.claims if c.decides))
        return strongest(*(c.label for c in self.claims if c.decides and c.holds is False))

    def __repr__(self) -> str:
        strength = f" [{self.label}]" if self.label else ""
        return f"<Result {self.verdict.value}{strength}: {self.summary}; {len(self.claims)} claims, see to_text()>"

    def __bool__(self) -> NoReturn:
        raise TypeError("a verification result has three outcomes and is no boolean; compare result.verdict with Verdict.CONFIRMED, REFUTED or INCONCLUSIVE")

    def to_text(self) -> str:
        """The report for people: sides, one line per claim, verdict, what was not shown, cost."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [f"TOPOLOGY  {versions}, seed {self.seed}; lengths in data units, scales as radii"]
        lines.append(f"subject   {self.subject}: {betti_text(self.subject_betti)}")
        if self.against_betti is not None:
            lines.append(f"against   {betti_text(self.against_betti)}")
        if self.expected is not None:
            lines.append(f"expected  {self.expected_name}: {betti_text(self.expected)}")
        lines += [claim.to_text() for claim in self.claims]
        strength = f" [{self.label}]" if self.label else ""
        lines.append(f"VERDICT   {self.verdict.value}{strength}: {self.summary}")
        lines += [f"NOT SHOWN {text}" for text in self.not_shown]
        return "\n".join([*lines, "cost      " + ", ".join(f"{value:.4g} {name}" for name, value in self.cost.items())])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; numbers that are not finite become None."""
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "label": self.label,
            "summary": self.summary,
            "subject": {"name": self.subject, "betti": _betti_dict(self.subject_betti)},
            "against": None if self.against_betti is None else {"betti": _betti_dict(self.against_betti)},
            "expected": None if self.expected is None else {"name": self.expected_name, "betti": _betti_dict(self.expected)},
            "claims": [claim.to_dict() for claim in self.claims],
            "not_shown": list(self.not_shown),
            "cost": _plain(self.cost),
            "seed": self.seed,
            "versions": dict(self.versions),
        }

    def to_json(self) -> str:
        """One JSON document of `to_dict`, without NaN or Infinity."""
        return json.dumps(self.to_dict(), allow_nan=False, indent=2)


def decide(claims: Sequence[Claim]) -> Verdict:
    """The verdict that the deciding claims carry; INCONCLUSIVE where there are none."""
    deciding = [claim for claim in claims if claim.decides]
    if any(claim.holds is False and claim.label != "heuristic" for claim in deciding):
        return Verdict.REFUTED
    sound = all(claim.holds for claim in deciding) and not any(claim.needed and claim.holds is False for claim in claims)
    return Verdict.CONFIRMED if deciding and sound else Verdict.INCONCLUSIVE


def each(level: float, count: int) -> float:
    """The confidence that each of `count` claims needs for all of them to hold together with confidence `level` (Bonferroni)."""
    return 1 - (1 - level) / count


def weakest(*labels: str) -> str:
    """The weakest of some labels."""
    return max(labels, key=LABELS.index)


def strongest(*labels: str) -> str:
    """The strongest of some labels."""
    return min(labels, key=LABELS.index)


def betti_text(betti: Betti) -> str:
    """`Z/2 (1,2,1), Z/3 (1,2,1)`, a question mark where undecided."""
    return ", ".join(f"Z/{p} ({','.join('?' if b is None else str(b) for b in numbers)})" for p, numbers in betti.items())


def _betti_dict(betti: Betti) -> dict[str, list[int | None]]:
    return {str(p): list(numbers) for p, numbers in betti.items()}


def _plain(value: Any) -> Any:
    """Numbers, strings, lists and dictionaries only."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
