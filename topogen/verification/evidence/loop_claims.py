"""What can be said of a cloud whose set cannot be told: loops of the points that noise does not explain.

Bars of H_1 of 400 points drawn at random from the cloud, tested against the universal law of the bars of noise, with Bonferroni's correction
(`topology.inference.significance`). A bar that passes is a loop of the cloud at its radii; it need not be one of the set, and a loop that does not pass may be.
Bobrowski, Skraba (2023), A universal null-distribution for topological data analysis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.errors import BudgetExceeded
from topogen.topology.inference.significance import significance
from topogen.topology.persistence.budget import Budget
from topogen.topology.persistence.persistence import persistence
from topogen.verification.claims import make_claim
from topogen.verification.verdict import Claim

__all__ = ["loops_claim"]

MOST = 400


def loops_claim(name: str, points: Tensor, budget: Budget | None, generator: torch.Generator | None) -> tuple[Claim, ...]:
    """How many loops of a cloud (n, D) are longer than noise makes them, with the radii of the longest; no claim where that cannot be tested, an
    undecided one where it is above the budget."""
    some = points[torch.randperm(len(points), generator=generator)[:MOST]]
    try:
        diagram = persistence(some, max_degree=1, fields=(2,), engine="rips", budget=budget)[2]
    except BudgetExceeded as error:
        return (make_claim("loops", f"{name}: loops that noise does not explain were not looked for", None, f"left out for its cost: {error}"),)
    found = significance(diagram, 1)
    if found.count is None:
        return ()
    plural = "loop" if found.count == 1 else "loops"
    first = found.bars[0].tolist()
    where = f", from radius {first[0]:.3g} to {first[1]:.3g} the surest" if found.count else ""
    text = f"{name}: {found.count} {plural} among {len(some)} of the points that noise does not explain{where}"
    bound = f"p {float(found.p_values[0]):.2g} among {len(found.bars)} bars, family-wise level {found.alpha:g}"
    law = "the points are independent; the universal law of bars, which is a conjecture"
    return (make_claim("loops", text, True, bound, law, {**found.to_dict(), "significant": found.count}),)
