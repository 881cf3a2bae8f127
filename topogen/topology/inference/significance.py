"""Is a bar longer than noise makes it? p-values from a law that bars of pure noise are seen to follow whatever they are sampled from.

For bars [b, d) of degree 1 and above, with pi = d / b and A = 1 (Rips), 1/2 (Cech),

    l = A log log pi + B,      B = -gamma - A mean(log log pi),      p = exp(-exp l),

gamma Euler's constant: l of noise has the left-skewed Gumbel law. Over m bars of a degree alpha / m is asked for (Bonferroni). The law is a conjecture
that experiments back, for points drawn independently: landmarks spread evenly have p-values that are safe and say little. Rips finds loops of noisy curves
that Cech, of half the A, does not; H_1 of a surface is seldom significant in either: that a bar is not says nothing.

Bobrowski, Skraba (2023), A universal null-distribution for topological data analysis, Scientific Reports 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topogen.errors import InvalidInputError
from topogen.topology.persistence.persistence import Diagram

__all__ = ["Significance", "significance"]

LEAST_BARS = 30
TRIVIAL = 1e-6


@dataclass(frozen=True)
class Significance:
    """p-values of the bars of one degree over Z/`field`, smallest first: `bars` (m, 2) radii and `p_values` (m,).

    A bar alive at the end of the filtration has the p-value of one that dies there, which is too large. `dropped`: bars with d / b < 1 + 1e-6, made by
    smooth samples and rounding. `testable`: at least 30 bars remain. `needed`: the end of the filtration at which the earliest-born bar that is alive and
    not yet significant would be so (None: there is no such bar).
    """

    degree: int
    field: int
    alpha: float
    bars: NDArray[np.float64]
    p_values: NDArray[np.float64]
    dropped: int
    testable: bool
    needed: float | None

    @property
    def count(self) -> int | None:
        """How many bars are significant at family-wise level alpha, None where that cannot be tested."""
        return int((self.p_values * len(self.p_values) < self.alpha).sum()) if self.testable else None

    def to_dict(self, longest: int = 10) -> dict[str, Any]:
        """JSON-able summary with the most significant bars."""
        rows = [
            {"birth": b, "death": None if math.isinf(d) else d, "p": p} for (b, d), p in zip(self.bars[:longest].tolist(), self.p_values.tolist(), strict=False)
        ]
        plain = {name: getattr(self, name) for name in ("degree", "field", "alpha", "dropped", "testable", "count", "needed")}
        return {**plain, "tested": len(self.bars), "most": rows}

    def to_text(self) -> str:
        """In one line."""
        if not self.testable:
            return f"H_{self.degree} over Z/{self.field}: not testable, {len(self.bars)} bars with birth above 0, {LEAST_BARS} are needed"
        smallest = f", smallest p {self.p_values[0]:.2g}"
        more = f"; undecided bars need a filtration up to {self.needed:.3g}" if self.needed is not None else ""
        return f"H_{self.degree} over Z/{self.field}: {self.count} of {len(self.bars)} bars significant at family-wise level {self.alpha:g}{smallest}{more}"


def significance(diagram: Diagram, degree: int, *, alpha: float = 0.05) -> Significance:
    """Test the bars of a degree from 1 on against noise; raises InvalidInputError for a degree that the diagram has not, and for degree 0."""
    if not 1 <= degree < len(diagram.bars):
        raise InvalidInputError(f"degree: expected 1 to {len(diagram.bars) - 1}, found {degree}; in degree 0 all bars are born at 0 and have no ratio")
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha: expected a share, found {alpha}")
    bars = diagram.bars[degree]
    bars = bars[bars[:, 0] > 0]
    ratio = np.minimum(bars[:, 1], diagram.end) / bars[:, 0]
    kept = ratio >= 1 + TRIVIAL
    bars, ratio = bars[kept], ratio[kept]
    finite = np.isfinite(bars[:, 1])
    testable = int(finite.sum()) >= LEAST_BARS
    if not testable:
        return Significance(degree, diagram.field, alpha, bars, np.full(len(bars), math.nan), int((~kept).sum()), False, None)
    factor = 0.5 if "cech" in diagram.filtration else 1.0
    shift = -np.euler_gamma - factor * float(np.log(np.log(ratio[finite])).mean())
    p_values = np.exp(-np.exp(factor * np.log(np.log(ratio)) + shift))
    order = np.argsort(p_values, kind="stable")
    open_births = bars[~finite & (p_values * len(bars) >= alpha), 0]
    least_ratio = math.exp(math.exp((math.log(math.log(len(bars) / alpha)) - shift) / factor))
    needed = float(open_births.min()) * least_ratio if len(open_births) else None
    return Significance(degree, diagram.field, alpha, bars[order], p_values[order], int((~kept).sum()), True, needed)
