"""From a diagram and a scale eps to Betti numbers: the spanning rule, and a weaker plateau rule that says it is one.

X is a finite set with d_H(X, M) <= eps, M^s the points within s of M. Cech: M in X^eps in M^(2 eps) in X^(3 eps) in M^(4 eps), hence if
M^s keeps the homology of M up to s = 4 eps (reach > 4 eps is enough)

    beta_k(M) = #{bars [b, d) : b <= eps, d > 3 eps}.

Rips, with theta = sqrt(2 D / (D + 1)) and Cech(s) in Rips(s) in Cech(theta s): the chain

    M in Cech(eps) in Rips(eps) in Cech(theta eps) in M^((theta + 1) eps) in Cech((theta + 2) eps) in Rips((theta + 2) eps)
      in Cech(theta (theta + 2) eps) in M^((theta + 1)^2 eps)

gives in the same way: b <= eps, d > (theta + 2) eps, reach > (theta + 1)^2 eps; theta = 1 is the Cech form. The rule is scanned
over [1, 1.5] eps. Where the assumption holds no other bar is alive between eps and the far end (up to noise), which is checked:
a cloud too coarse for its set betrays itself there. The plateau rule only asks that the Betti numbers are constant on
[eps, 1.5 eps] (2 eps and from .8 eps where dimension and closedness are not known): evidence, not proof.

Cohen-Steiner, Edelsbrunner, Harer (2007), Stability of persistence diagrams; Chazal, Oudot (2008), Towards persistence-based
reconstruction in Euclidean spaces; Niyogi, Smale, Weinberger (2008), Finding the homology of submanifolds with high confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topogen.topology.persistence.persistence import Diagram

__all__ = ["Count", "Rule", "constant", "hidden", "plateau", "plateau_factor", "plateau_limit", "spanning", "stable", "too_coarse", "too_far"]

SCAN = 1.5
UNVOUCHED = 0.77
LASTING, LASTING_UNEVEN = 4.0, 2.75


@dataclass(frozen=True)
class Rule:
    """The constants of a filtration: theta (1 for Cech), and the enclosing radius of the cloud, above which no closed set has its reach."""

    filtration: str
    theta: float
    enclosing: float

    @property
    def far(self) -> float:
        """Far end of the spanning interval in units of eps: 3 (Cech), theta + 2 (Rips)."""
        return self.theta + 2

    @property
    def reach(self) -> float:
        """What the reach must exceed, in units of eps: 4 (Cech), (theta + 1)^2 (Rips)."""
        return (self.theta + 1) ** 2

    @property
    def filled(self) -> float:
        """Radius by which even a round sphere of the cloud's enclosing radius R may be filled: R (Cech), R / sqrt 2 (Rips)."""
        return self.enclosing if self.filtration == "cech" else self.enclosing / math.sqrt(2)

    @property
    def name(self) -> str:
        """The rule in words."""
        return "Cech spanning rule [eps, 3 eps]" if self.filtration == "cech" else f"Rips spanning rule [eps, {self.far:.3g} eps]"


@dataclass(frozen=True)
class Count:
    """Betti numbers by degree, None where undecided, the reason, and the `limit` below which eps would have to be (data units; None: decided)."""

    betti: tuple[int | None, ...]
    reason: str = ""
    limit: float | None = None

    @property
    def decided(self) -> bool:
        """Whether every degree is decided."""
        return None not in self.betti


def spanning(diagram: Diagram, eps: float, rule: Rule) -> Count:
    """The spanning rule, scanned over [1, 1.5] eps; a degree with a bar that contradicts its assumption is undecided."""
    undecided = (None,) * len(diagram.bars)
    if rule.reach * eps >= rule.enclosing:
        return too_coarse(undecided, rule.reach, eps, rule.enclosing, rule)
    if diagram.end < SCAN * rule.far * eps:
        return too_far(undecided, eps, SCAN * rule.far, diagram.end)
    return constant(diagram, eps, SCAN * rule.far * eps, eps)


def plateau(diagram: Diagram, eps: float, rule: Rule, *, known: bool, complete: bool) -> Count:
    """The plateau rule: constant Betti numbers on [eps, 1.5 eps], or on [.8 eps, 2 eps] where dimension or closedness is not `known`.

    It applies below a share of the enclosing radius that shrinks where the fundamental class cannot vouch for the scale: `complete` says
    that the degrees reach the dimension of the closed set.
    """
    first, last = 1.0 if known else 0.8, plateau_factor(known)
    top = last * plateau_limit(rule, known=known, complete=complete)
    undecided = (None,) * len(diagram.bars)
    if last * eps > top:
        limit = top / last
        return Count(undecided, f"the scale is too large for a set in a ball of radius {rule.enclosing:.3g}; needs eps < {limit:.3g}, has {eps:.3g}", limit)
    if diagram.end < last * eps:
        return too_far(undecided, eps, last, diagram.end)
    return constant(diagram, first * eps, last * eps, eps)


def plateau_factor(known: bool) -> float:
    """How far the plateau must reach, in units of eps."""
    return 1.5 if known else 2.0


def plateau_limit(rule: Rule, *, known: bool, complete: bool) -> float:
    """The largest eps at which the plateau rule can decide; the arguments as in `plateau`."""
    return rule.filled * (1 if complete else UNVOUCHED if known else UNVOUCHED**2) / plateau_factor(known)


def stable(diagram: Diagram, eps: float, rule: Rule) -> bool:
    """Whether the spanning count is the same at eleven scales over [1, 1.5] eps, in every degree."""
    scales = np.linspace(1, SCAN, 11) * eps
    return all(len({diagram.spanning(k, float(s), rule.far * float(s)) for s in scales}) == 1 for k in range(len(diagram.bars)))


def hidden(diagram: Diagram, eps: float, *, uneven: bool) -> str:
    """A class that has come and gone below eps although it lasts longer than noise makes one, in words; empty where there is none.

    Bars of independent points of one density end by 3.4 times their birth (12,000 points of the plane; fewer points and higher dimensions: less). Where one
    lasts more than 4 times its birth and ends before eps, part of the points is dense enough to show what eps, the scale of the sparsest part, is too
    coarse for. In a cloud that is known to be `uneven` 2.75 times is enough: noise taken for a class leaves an answer open, a class taken for noise is wrong.
    """
    lasting = LASTING_UNEVEN if uneven else LASTING
    for degree, bars in enumerate(diagram.bars[1:], 1):
        early = bars[(bars[:, 0] > 0) & (bars[:, 1] <= eps) & (bars[:, 1] > lasting * bars[:, 0])]
        if len(early):
            birth, death = early[(early[:, 1] / early[:, 0]).argmax()]
            return f"uneven density: a class of H_{degree} lives from {birth:.3g} to {death:.3g}, below the scale {eps:.3g} of the sparsest part"
    return ""


def too_coarse(undecided: tuple[None, ...], factor: float, eps: float, most: float, rule: Rule, *, seen: bool = False) -> Count:
    """No answer where a reach of `factor` eps is more than `most`: what the enclosing ball allows, or what the points show (`seen`)."""
    why = "the points show a reach below" if seen else f"no closed set in a ball of radius {rule.enclosing:.3g} has a reach above"
    limit = most / factor
    return Count(undecided, f"{why} {factor:.3g} eps; needs eps < {limit:.3g}, has {eps:.3g}", limit)


def too_far(undecided: tuple[None, ...], eps: float, factor: float, end: float) -> Count:
    """No answer where the filtration ends before `factor` eps."""
    limit = end / factor
    return Count(undecided, f"bars up to {factor * eps:.3g} cost more than allowed ({end:.3g}); needs eps < {limit:.3g}, has {eps:.3g}", limit)


def constant(diagram: Diagram, near: float, far: float, eps: float, born: float = math.inf) -> Count:
    """Bars that contain [near, far] and are born by `born` at the latest, provided that no other bar meets it."""
    born = min(near, born)
    betti, reasons, limits = [], [], []
    for k, bars in enumerate(diagram.bars):
        b, d = np.minimum(bars, diagram.end).T if len(bars) else np.empty((2, 0))
        d = np.where(np.isinf(bars[:, 1]), math.inf, d) if len(bars) else d
        through = (b <= born) & (d > far)
        partial = (b < far) & (d > near) & ~through
        betti.append(None if partial.any() else int(through.sum()))
        if partial.any():
            text, limit = _needed(k, b[partial], d[partial], born, far / eps)
            reasons.append(f"{text}; needs eps < {limit:.3g}, has {eps:.3g}")
            limits.append(limit)
    # one reach stands behind all degrees: a bar that breaks it in one degree takes the others along; components need less than a reach
    broken = None in betti[1:]
    return Count((*betti[:1], *(None if broken else b for b in betti[1:])), "; ".join(reasons), min(limits, default=None))


def _needed(degree: int, births: NDArray[np.float64], deaths: NDArray[np.float64], born: float, factor: float) -> tuple[str, float]:
    """Why these bars leave a degree undecided, and the eps that would clear the way.

    Bars already alive must outlive factor * eps, bars born later must be born beyond it.
    """
    late = births > born
    text = f"H_{degree}: {len(births)} bars neither noise nor spanning at this scale"
    if late.all():
        return f"{text} (first born at {births.min():.3g}, after {born:.3g}): the set has features of that size", float(births.min()) / factor
    return text, float(deaths[~late].max()) / factor
