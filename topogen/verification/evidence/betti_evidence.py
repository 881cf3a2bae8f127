"""One side of a comparison, whatever it comes from, and what two sides say to each other.

A side knows Betti numbers over some fields up to some degree, each decided or not, under a label and an assumption. Two sides contradict
each other where a decided number differs from a decided number, over any field, in any degree; they agree where every degree
that either of them computed or names is decided and equal, over all fields. Z/2 alone cannot tell a Klein bottle (1,2,1) from a torus (1,2,1): over Z/3 the
former has (1,1,0). Hatcher (2002), Algebraic Topology, section 3.A.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from topogen.errors import InvalidInputError
from topogen.topology.inference.expectations import Expectation
from topogen.topology.inference.homology import Homology
from topogen.verification.claims import make_claim
from topogen.verification.verdict import Betti, Claim, weakest

__all__ = ["BettiEvidence", "check_primes", "compare_evidence", "filled", "evidence_of_expectation", "evidence_of_homology", "signature"]


@dataclass(frozen=True)
class BettiEvidence:
    """Betti numbers by field from degree 0 (None: undecided) of something called `name`.

    Degrees above those listed vanish if `complete`, else they are not known. `reason` says what would decide the undecided ones. `manifold`: the side is
    one, and was not only read off a cloud. `beside`: claims that the reading of it brought up and no verdict rests on. `before`: the side as it was decided
    before a second look, in part but under a better label.
    """

    name: str
    betti: Betti
    label: str
    complete: bool
    assumption: str = ""
    reason: str = ""
    orientable: bool | None = None
    dim: int | None = None
    closed: bool | None = None
    manifold: bool = False
    evidence: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[Claim, ...] = ()
    before: BettiEvidence | None = None

    @property
    def decided(self) -> bool:
        """Whether every listed number is decided."""
        return all(None not in numbers for numbers in self.betti.values())

    def number(self, prime: int, degree: int) -> int | None:
        """beta_degree over Z/prime, None where not known."""
        numbers = self.betti[prime]
        if degree < len(numbers):
            return numbers[degree]
        return 0 if self.complete else None


def evidence_of_homology(
    name: str,
    found: Homology,
    ambient_dim: int,
    *,
    dim: int | None = None,
    closed: bool | None = None,
    orientable: bool | None = None,
    assumption: str = "",
) -> BettiEvidence:
    """The side of a cloud: `found` by persistent homology, degrees from min(dim + 1, D) on known to vanish; `assumption` is added to its own."""
    listed = min(len(numbers) for numbers in found.decided.values())
    top = ambient_dim if dim is None else min(dim + 1, ambient_dim)
    assumed = "; ".join(part for part in (found.assumption, assumption) if part)
    betti = {p: numbers[:ambient_dim] for p, numbers in found.decided.items()}
    reason, evidence = _condensed(found.reason), found.to_dict()
    return BettiEvidence(name, betti, found.label, listed >= top, assumed, reason, orientable, dim, closed, evidence=evidence)


def evidence_of_expectation(expectation: Expectation, fields: Sequence[int]) -> BettiEvidence:
    """The side of an expectation: a definition, hence proved."""
    betti = {p: expectation.over(p) for p in fields}
    return BettiEvidence(expectation.name, betti, "proved", True, orientable=expectation.orientable, dim=expectation.dim, closed=expectation.closed)


def signature(side: BettiEvidence) -> Claim:
    """The deciding claim that the Betti numbers of a side are known at all."""
    numbers = ", ".join(f"({','.join('?' if b is None else str(b) for b in n)}) over Z/{p}" for p, n in side.betti.items())
    bound = "" if side.decided else side.reason
    text, holds = f"{side.name} has Betti numbers {numbers}", True if side.decided else None
    return make_claim("signature", text, holds, bound, side.assumption, side.evidence, label=side.label, decides=True)


def compare_evidence(one: BettiEvidence, other: BettiEvidence, fields: Sequence[int]) -> list[Claim]:
    """Deciding claims: equal Betti numbers over each field, and orientability where both sides know it."""
    one, other = _surest(one, other, fields), _surest(other, one, fields)
    claims = [_compare_over(one, other, p) for p in fields]
    if one.orientable is not None and other.orientable is not None:
        claims.append(_compare_orientability(one, other, one.orientable == other.orientable))
    return claims


def filled(cloud: BettiEvidence, manifold: BettiEvidence) -> BettiEvidence:
    """The side of a cloud with its undecided degrees taken from the manifold learned from it, labelled heuristic; `evidence["own"]`: what it decides itself."""
    degrees = {p: max(len(cloud.betti[p]), len(manifold.betti[p])) for p in cloud.betti}
    betti = {p: tuple(known if (known := cloud.number(p, k)) is not None else manifold.number(p, k) for k in range(degrees[p])) for p in cloud.betti}
    own = ", ".join(f"({','.join('?' if b is None else str(b) for b in n)}) over Z/{p}" for p, n in cloud.betti.items())
    assumption = f"{cloud.assumption}; by itself the cloud decides {own}, the other degrees are those of the manifold learned from it"
    return replace(cloud, betti=betti, label="heuristic", complete=True, assumption=assumption, evidence={**cloud.evidence, "own": own}, before=cloud)


def estimated_instead(stated: BettiEvidence, estimated: BettiEvidence) -> BettiEvidence:
    """The side of a cloud that a stated density ratio leaves undecided, at an estimated scale: where that decides and contradicts nothing, heuristic."""
    pairs = [(a, b) for p in stated.betti for a, b in zip(stated.betti[p], estimated.betti[p], strict=False) if a is not None]
    if not estimated.decided or any(a != b for a, b in pairs):
        return stated
    return replace(estimated, before=stated)


def check_primes(fields: Sequence[int]) -> tuple[int, ...]:
    """The fields as a tuple of different primes; raises InvalidInputError otherwise."""
    primes = tuple(fields)
    good = all(isinstance(p, int) and not isinstance(p, bool) and p > 1 and all(p % q for q in range(2, int(p**0.5) + 1)) for p in primes)
    if not primes or not good or len(set(primes)) < len(primes):
        raise InvalidInputError(f"fields: expected different primes such as (2, 3), found {fields!r}")
    return primes


def _condensed(reason: str) -> str:
    """A reason with fields that say the same said together: "Z/2: a; Z/3: a" becomes "Z/2, Z/3: a"."""
    parts = re.split(r"(?:^|; )(Z/\d+): ", reason)
    grouped: dict[str, list[str]] = {}
    for prime, text in zip(parts[1::2], parts[2::2], strict=True):
        grouped.setdefault(text, []).append(prime)
    return "; ".join([*([parts[0]] if parts[0] else []), *(f"{', '.join(primes)}: {text}" for text, primes in grouped.items())])


def _compare_over(one: BettiEvidence, other: BettiEvidence, prime: int) -> Claim:
    degrees = _degrees(one, other, prime)
    pairs = [(k, one.number(prime, k), other.number(prime, k)) for k in degrees]
    differ = [(k, a, b) for k, a, b in pairs if a is not None and b is not None and a != b]
    unknown = [k for k, a, b in pairs if a is None or b is None]
    label = weakest(one.label, other.label)
    if differ:
        bound = ", ".join(_difference(k, a, b) for k, a, b in differ)
        return make_claim("equal betti", f"over Z/{prime} {one.name} and {other.name} have the same Betti numbers", False, bound, label=label, decides=True)
    text = f"over Z/{prime} {one.name} and {other.name} have the same Betti numbers in degrees 0 to {degrees[-1]}"
    bound = f"not known in degree {', '.join(map(str, unknown))}" if unknown else ""
    return make_claim("equal betti", text, None if unknown else True, bound, label=label, decides=True)


def _surest(side: BettiEvidence, other: BettiEvidence, fields: Sequence[int]) -> BettiEvidence:
    """The side as it was before a second look, where that contradicts the other already; else the side."""
    if side.before is None:
        return side
    pairs = [(a, other.number(p, k)) for p in fields for k, a in enumerate(side.before.betti[p])]
    return side.before if any(a is not None and b is not None and a != b for a, b in pairs) else side


def _degrees(one: BettiEvidence, other: BettiEvidence, prime: int) -> range:
    """Degrees to compare: those both list, and further those in which one of them has homology."""
    a, b = one.betti[prime], other.betti[prime]
    shared = min(len(a), len(b))
    longer = [k for k, (x, y) in enumerate(zip_longest(a, b, fillvalue=0)) if x != 0 or y != 0]
    return range(max(shared, *(k + 1 for k in longer), 1) if longer else max(shared, 1))


def _difference(degree: int, one: int | None, other: int | None) -> str:
    return f"{one} against {other} components" if degree == 0 else f"H_{degree} has rank {one} against {other}"


def _compare_orientability(one: BettiEvidence, other: BettiEvidence, same: bool) -> Claim:
    words = {True: "orientable", False: "not orientable"}
    text = f"{one.name} is {words[bool(one.orientable)]}, {other.name} is {words[bool(other.orientable)]}"
    # equal homology with different orientability (Moebius band, cylinder) is no contradiction of Betti numbers: it only cannot be confirmed
    bound = "" if same else "the same homology does not make them the same set"
    return make_claim("equal orientability", text, True if same else None, bound, label=weakest(one.label, other.label), decides=True)
