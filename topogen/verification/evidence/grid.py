"""The grid certificate of an implicit manifold as a claim, and as a side where it proves all there is to compare.

In R^2 and R^3 (R^4 with few cells) the zero set of a regular constraint can be certified without samples (`topology.level_sets.certificate`). A side made of it
is "proved": its Betti numbers are those of the zero set inside the box of the data, a closed orientable manifold.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.base import Manifold
from topogen.topology.level_sets.certificate import HIGHEST, LevelSet, certify_level_set
from topogen.topology.persistence.budget import Budget
from topogen.verification.claims import make_claim
from topogen.verification.evidence.betti_evidence import BettiEvidence
from topogen.verification.evidence.inputs import ManifoldInput
from topogen.verification.verdict import Claim

__all__ = ["grid_claim", "grid_evidence"]

TOO_WIDE = "no part of the zero set lies outside of the box"


def grid_claim(subject: ManifoldInput, near: Tensor, resolution: int, fields: Sequence[int], budget: Budget | None) -> tuple[Claim, LevelSet | None]:
    """The claim that the zero set in the box of points `near` it (n, D) is certified by `resolution` cells along its longest side, and the certificate."""
    manifold = subject.ground
    if manifold.constraint is None or manifold.ambient_dim > HIGHEST or manifold.gate is not None:
        return make_claim("grid", f"grid certificate: {_why_not(manifold)}", None, label="heuristic"), None
    tube_only = not manifold.regular  # whose proof takes cells by the million, and would prove nothing of the manifold itself
    try:
        found = certify_level_set(manifold, near, resolution=resolution, fields=fields, sampled=tube_only, budget=budget)
    except InvalidInputError as error:
        return make_claim("grid", "grid certificate of the zero set", None, str(error), label="heuristic"), None
    what = "zero set" if found.regular else f"tube |F| <= {found.level:.3g}"
    numbers = "not decided" if found.betti is None else ", ".join(f"({','.join(map(str, b))}) over Z/{p}" for p, b in found.betti.items())
    text = f"grid certificate: the {what} in the box has Betti numbers {numbers}"
    holds = None if found.betti is None else found.agrees is not False
    bound = found.reason or f"cells of side {found.spacing:.3g}, tube |F| <= {found.tube:.3g}, margin {found.margin:.3g}"
    return make_claim("grid", text, holds, bound, f"{found.assumption}; {TOO_WIDE}", found.to_dict(), label=found.label), found


def grid_evidence(subject: ManifoldInput, found: LevelSet | None) -> BettiEvidence | None:
    """The side that a certificate proves; None where it decides nothing, speaks of a tube only, or its bounds were sampled."""
    if found is None or found.betti is None or not found.regular or found.label != "proved" or found.agrees is False:
        return None
    assumption = f"{found.assumption}; {TOO_WIDE}"
    dim = subject.manifold.dim
    return BettiEvidence("subject", found.betti, "proved", True, assumption, orientable=True, dim=dim, closed=True, manifold=True, evidence=found.to_dict())


def _why_not(manifold: Manifold) -> str:
    if manifold.constraint is None:
        return f"{type(manifold).__name__} has no constraint"
    if manifold.gate is not None:
        return "the manifold has a boundary (gate), which a level set does not know"
    return f"a grid in R^{manifold.ambient_dim} is out of reach (R^{HIGHEST} is the limit)"
