"""A verdict in one sentence, and what it does not show.

Betti numbers name a set only where it is known to be a closed manifold of dimension 1 or 2 (dimension certificate, no boundary): then it *is*
a torus; otherwise it *has the homology of* one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from topogen.topology.inference.expectations import Expectation
from topogen.verification.evidence.betti_evidence import BettiEvidence
from topogen.verification.naming import closed_manifold_name
from topogen.verification.verdict import Claim, Verdict

__all__ = ["not_shown", "summary"]

ROOM = 1.2
OUT_OF_REACH = 300
LENS_SPACES = 3


def summary(verdict: Verdict, subject: BettiEvidence, against: BettiEvidence | None, expected: Expectation | None, claims: Sequence[Claim]) -> str:
    """The verdict in one sentence."""
    wanted = " and of ".join(part for part in (_article(expected), "the data" if against is not None else "") if part)
    unfaithful = "; ".join(claim.bound or claim.text for claim in claims if (claim.needed or claim.key == "fidelity") and claim.holds is False)
    differ = [claim for claim in claims if claim.decides and claim.holds is False and claim.key != "fidelity"]
    failing = "; ".join(f"{claim.text.split(' subject')[0]} {claim.bound}" for claim in differ)
    if verdict is Verdict.REFUTED:
        far = f"the subject is not where the data are: {unfaithful}"
        return far if all(claim.label == "heuristic" for claim in differ) else f"the subject does not have the homology of {wanted}: {failing}"
    if verdict is Verdict.INCONCLUSIVE and unfaithful and not failing:
        return f"{_left_open(subject, against)}: {unfaithful}"
    if verdict is Verdict.INCONCLUSIVE:
        speaks = f"heuristic evidence against {wanted} ({failing}); to refute it, " if failing else ""
        return speaks + _what_would_decide([side for side in (subject, against) if side is not None], claims, refute=bool(failing)) + _shown(claims)
    name = _name(subject)
    if name and _is_manifold(subject, claims):
        return f"the subject is {name}" + (" and has the homology of the data" if against is not None else "") + _taken(against)
    return f"the subject has the {_compared(subject)} of {name or wanted}" + (", as the data have" if name and against is not None else "") + _taken(against)


def _taken(against: BettiEvidence | None) -> str:
    """Which part of a verdict is that of the data, where the rest was taken from the model."""
    own = None if against is None else against.evidence.get("own")
    return "" if own is None else f"; the data themselves decide {own}, the rest is told by the subject, which lies along all of them"


def _left_open(subject: BettiEvidence, against: BettiEvidence | None) -> str:
    name = _name(subject)
    told = f"the subject has the homology of {name}" if name else "the subject"
    if against is not None and not against.decided:
        return f"{told}; the data do not decide" if name else "neither the subject nor the data decide"
    return f"{told}; it cannot be trusted" if name else "the subject cannot be trusted"


def not_shown(
    subject: BettiEvidence, against: BettiEvidence | None, expected: Expectation | None, claims: Sequence[Claim], fields: Sequence[int]
) -> tuple[str, ...]:
    """What a reader might take for shown and is not, in words."""
    sampled = [side for side in (subject, against) if side is not None and side.label != "proved"]
    lines = [f"features of {side.name} smaller than some {_resolution(side):.3g}" for side in sampled if "scale" in side.evidence]
    lines += [f"homology of {side.name} above degree {min(map(len, side.betti.values())) - 1}" for side in sampled if not side.complete]
    if subject.manifold and subject.label != "proved":
        lines.append("components that no sample reached")
    if "tube" in subject.evidence:
        lines.append("zeros of the constraint outside of the box of the data")
    if not (_is_manifold(subject, claims) and _name(subject)):
        lines.append("which set it is: sets that differ (a torus, and two circles and a sphere joined in a point) can have the same homology")
    if expected is not None and expected.closed and subject.closed is False and subject.label != "proved":
        lines.append("whether the set has holes or points are missing: a boundary was found, and the expected shape has none")
    lines += _torsion(subject, fields)
    if 2 not in fields or len(fields) == 1:
        lines.append(f"homology over fields other than {', '.join(f'Z/{p}' for p in fields)}: over Z/2 alone a Klein bottle cannot be told from a torus")
    if expected is not None and expected.closed is False and subject.orientable is None:
        lines.append("orientability: homology does not tell a Moebius band from a cylinder")
    if expected is not None and None not in (expected.dim, subject.dim) and expected.dim != subject.dim:
        lines.append(f"dimension: the subject has dimension {subject.dim}, the expected shape {expected.dim}; only homology was compared")
    return (*lines, "how the set lies in space (knots, links, distances): the verdict is about homology")


def _torsion(subject: BettiEvidence, fields: Sequence[int]) -> list[str]:
    """Of closed surfaces and curves only 2-torsion is known; from dimension 3 on every prime occurs."""
    highest = subject.dim if subject.dim is not None else max(map(len, subject.betti.values())) - 1
    if highest < LENS_SPACES:
        return []
    asked, more = ", ".join(f"Z/{p}" for p in fields), tuple(dict.fromkeys((*fields, 2, 3, 5, 7)))
    return [f"torsion prime to {asked}: the lens space L(5,1) has a three-sphere's Betti numbers over Z/2 and Z/3; ask for it by fields={more}"]


def _compared(subject: BettiEvidence) -> str:
    """What is the same: homology, where the fields tell all of it that is not known otherwise, else the Betti numbers over them."""
    return f"Betti numbers over {', '.join(f'Z/{p}' for p in subject.betti)}" if _torsion(subject, tuple(subject.betti)) else "homology"


def _resolution(side: BettiEvidence) -> float:
    """Twice the scale, or what was smoothed over first if that is more."""
    return max(2 * float(side.evidence["scale"]), float(side.evidence.get("smoothed", 0.0)))


def _what_would_decide(sides: Sequence[BettiEvidence], claims: Sequence[Claim], *, refute: bool) -> str:
    """The number to improve, per side that is undecided (or heuristic, where that only keeps from refuting), as it was before a second look; else the
    undecided claims themselves."""
    found = [_needs(side.before or side) for side in sides if not side.decided or (refute and side.label == "heuristic")]
    return "; ".join(found or dict.fromkeys(claim.bound or claim.text for claim in claims if claim.decides and claim.holds is None))


def _shown(claims: Sequence[Claim]) -> str:
    """Loops that noise does not explain: what an open verdict has to show."""
    loops = [f"; shown: {claim.text} ({claim.bound.split(' among')[0]} if these are independent)" for claim in claims if claim.evidence.get("significant")]
    return "".join(loops)


def _needs(side: BettiEvidence) -> str:
    limit, has, skipped = (side.evidence.get(name) for name in ("needs", "finest", "skipped"))
    if skipped:
        enough = f"is dense enough (eps {has:.3g}, needed {limit:.3g}), but " if limit is not None and has is not None and has <= limit else ": "
        return f"{side.name}{' ' if enough[0] == 'i' else ''}{enough}{skipped}"
    if limit is not None and has is not None and has <= limit:
        return f"{side.name} is dense enough (eps {has:.3g}, needed {limit:.3g}), but its landmarks are too few: say landmarks="
    if limit is None or has is None:
        if side.reason:
            return f"{side.name}: {side.reason}"
        if side.evidence.get("scale_label") == "heuristic" and "reach >" in side.assumption and "piece" not in side.assumption:
            return f"the scale of {side.name} is estimated: state density_ratio= (largest over smallest density of independent points) or scale="
        return f"{side.name} would have to be known otherwise: it is assumed that {side.assumption}"
    return f"{side.name} needs eps < {limit:.3g}, has {has:.3g}; {_way_out(side, has / limit)}"


def _way_out(side: BettiEvidence, factor: float) -> str:
    """What brings eps down by a factor: it falls like (log n / n)^(1/d) until the noise is reached."""
    if str(side.evidence.get("scale_source", "")).startswith("noise"):
        return "that is the noise: project the points onto a learned manifold, or take cleaner ones"
    n = side.evidence.get("n_points")
    if side.dim is None or n is None:
        return "more samples, or less noise"
    wanted = ROOM * factor**side.dim * n
    if wanted > OUT_OF_REACH * n:
        return f"no number of points will do in dimension {side.dim}; if the set has a lower one and the rest is noise, say dim=, or take cleaner points"
    wanted *= math.log(wanted) / math.log(n)
    unit = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    uneven = any("uneven density" in note for note in side.evidence.get("notes", ()))
    where = ", more where they are sparse: if there are none to be had, the set ends there" if uneven else ""
    if side.manifold:
        return f"try n_samples={math.ceil(wanted / unit) * unit} in place of {n:,}"
    return f"try {math.ceil(wanted / unit) * unit:,} points instead of {n:,}{where}"


def _article(expected: Expectation | None) -> str:
    """The expectation with its article; Betti numbers are named as such."""
    if expected is None:
        return ""
    if expected.name[0].isdigit():
        return f"a set with Betti numbers {expected.name}"
    known = closed_manifold_name(expected.betti, expected.dim) if expected.closed else None
    return known or f"the expected shape ({expected.name.replace('_', ' ')})"


def _name(side: BettiEvidence) -> str | None:
    dims = (1, 2) if side.dim is None else (side.dim,)
    return next((name for name in (closed_manifold_name(side.betti, dim) for dim in dims) if name), None)


def _is_manifold(side: BettiEvidence, claims: Sequence[Claim]) -> bool:
    """A closed manifold: a shape, or an implicit one whose dimension certificate holds."""
    if not side.manifold or not side.closed:
        return False
    certified = any(claim.holds is True for claim in claims if "gap_quantile" in claim.evidence)
    return certified or side.label == "proved"
