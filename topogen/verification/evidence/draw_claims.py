"""What is said of the points as a draw: stray points that were left out, and points that no confidence of an independent draw holds for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from topogen.geometry.clouds.independence import Dependence
from topogen.geometry.clouds.neighbours import nearest
from topogen.verification.claims import make_claim
from topogen.verification.verdict import Claim

__all__ = ["dependence_claims", "stray_claims"]

NAMED = 5


def stray_claims(name: str, cloud: Tensor, rows: Sequence[int]) -> tuple[Claim, ...]:
    """The claim that some rows of a cloud (n, D) are stray and were left out; none where there are none."""
    found = list(rows)
    if not found:
        return ()
    distance = nearest(cloud, 2, cloud[found])[0][:, 1].tolist()
    named = ", ".join(f"{row} ({d:.3g} from the next point)" for row, d in zip(found[:NAMED], distance, strict=False))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    plural = "row" if len(found) == 1 else "rows"
    text = f"{name}: {plural} {named}{more}, counted from 0, far from all others, left out"
    return (make_claim("stray", text, True, "the rest is judged: drop such points, or keep them and say scale=", evidence={"stray_rows": found}),)


def dependence_claims(name: str, found: Dependence) -> tuple[Claim, ...]:
    """The claim that the points are no independent draw; none where nothing speaks against one."""
    if not found.found:
        return ()
    evidence = {"evenly_spaced": found.even, "expected_at_most": found.expected, "consecutive": found.consecutive}
    return (make_claim("no draw", f"{name}: {found.to_text()}", True, "no p-values and no confidence are given for such points", evidence=evidence),)
