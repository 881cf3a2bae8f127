"""The register of claims: what a verdict can say, under which labels, and the theorem or the test that each rests on.

A claim is made by its key, and has the label that stands here; where several may apply (the label of a side is that of what it rests on) the caller says which,
and it must be one of them. docs/verdicts.md has the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from topogen.errors import InvalidInputError
from topogen.verification.verdict import LABELS, Claim

__all__ = ["REGISTER", "RegisteredClaim", "make_claim"]


@dataclass(frozen=True)
class RegisteredClaim:
    """What a claim says, the `labels` that it may have, and the `ground` on which: a theorem with its assumption, a test, or a rule of thumb.

    `needed`: nothing is confirmed where it fails.
    """

    says: str
    labels: tuple[str, ...]
    ground: str
    needed: bool = False


_RULES = "spanning or reconstruction rule (Cohen-Steiner et al. 2007; Attali et al. 2024)"
_SIDE = f"{_RULES} at a scale that is stated, bounded (`mass_bound`) or estimated; plateau rule"

REGISTER: dict[str, RegisteredClaim] = {
    "signature": RegisteredClaim("a side has Betti numbers", LABELS, _SIDE),
    "equal betti": RegisteredClaim("both sides have the same Betti numbers over a field", LABELS, "the weaker of both sides"),
    "equal orientability": RegisteredClaim(
        "both sides are orientable, or not", LABELS, "Poincare duality (Hatcher 2002, section 3.3) on the weaker of both sides"
    ),
    "window": RegisteredClaim(
        "exactly these classes of the complexes of all points", ("proved-for-sample",), "stability of rank functions under the covering radius"
    ),
    "closed surface": RegisteredClaim("a mesh is a closed surface", ("proved",), "edges and vertex links of the complex are counted"),
    "grid": RegisteredClaim(
        "Betti numbers of a zero set in a box", ("proved", "heuristic"), "bounds on every cell; heuristic where they are sampled or nothing is certified"
    ),
    "dimension": RegisteredClaim("gap and tilt on 99 % of the manifold", ("statistical",), "Clopper-Pearson bounds; samples are independent and uniform", True),
    "ghosts": RegisteredClaim("at most .5 % of the starts end far from the data", ("statistical",), "Clopper-Pearson bounds; starts are independent", True),
    "kept residual": RegisteredClaim("samples lie on the zero set up to a tolerance", ("proved-for-sample",), "evaluated at each sample", True),
    "fidelity": RegisteredClaim(
        "the data lie on a learned manifold, it along them, within its reach",
        ("statistical", "heuristic"),
        "Clopper-Pearson bound on the share of points beyond three times what noise and spacing explain; closest-point maps within reach (Federer 1959)",
    ),
    "room": RegisteredClaim(
        "the data do not fill their affine hull", ("heuristic",), "a learned model has the dimension of their hull at the noise level", True
    ),
    "boundary": RegisteredClaim("a learned manifold has a boundary", ("heuristic",), "boundary points were found in the data"),
    "volume": RegisteredClaim("the volume of a manifold", ("proved", "statistical"), "closed form or quadrature; else an estimate with its standard error"),
    "distances": RegisteredClaim("distances between clouds, or of a cloud and a manifold", ("proved-for-sample",), "computed for each point"),
    "loops": RegisteredClaim(
        "loops that noise does not explain", ("statistical",), "universal law of bars (Bobrowski, Skraba 2023, a conjecture), independent points, Bonferroni"
    ),
    "strata": RegisteredClaim("no manifold where sheets cross", ("heuristic",), "Betti numbers of links, with regular places as control"),
    "sheets": RegisteredClaim("the number of smooth sheets", ("heuristic",), "sheets that cross at 45 degrees or more"),
    "stray": RegisteredClaim(
        "rows far from all others were left out", ("heuristic",), "farther than half a diameter and ten times the 99 % quantile of distances"
    ),
    "no draw": RegisteredClaim("the points are no independent draw", ("heuristic",), "even spacing (five standard deviations) or rows in order"),
}


def make_claim(
    key: str,
    text: str,
    holds: bool | None,
    bound: str = "",
    assumption: str = "",
    evidence: Mapping[str, Any] | None = None,
    *,
    label: str | None = None,
    decides: bool = False,
) -> Claim:
    """The claim registered as `key`, under the only label it may have, or the one of several that the caller names; arguments as in `Claim`.

    Raises InvalidInputError for a key without an entry and a label that the entry does not allow.
    """
    if key not in REGISTER:
        raise InvalidInputError(f"key: no claim is registered as {key!r}; add an entry to REGISTER with its labels and its ground")
    allowed = REGISTER[key].labels
    chosen = allowed[0] if label is None and len(allowed) == 1 else label
    if chosen not in allowed:
        raise InvalidInputError(f"label: the claim {key!r} may be {' or '.join(allowed)}, found {label!r}")
    return Claim(text, chosen, holds, bound, assumption, evidence or {}, decides, REGISTER[key].needed, key)
