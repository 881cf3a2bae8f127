"""Sets that are no manifolds: claims that say where and why, and a verdict for each smooth sheet of them.

Where sheets cross (`topogen.topology.strata.strata`), the link of a place differs from the sphere that it is in a manifold (`topology.strata.links`);
links are read at places of each stratum, and at regular places beside them as a control. A set of dimension 2 or more is taken apart into its smooth sheets
(`geometry.clouds.sheets`), each a cloud of its own with homology, verdict and label of its own. All of this is heuristic: true of the scale of the sampling.
Stolz, Tanner, Harrington, Nanda (2020), Geometric anomaly detection in data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest_distance
from topogen.geometry.clouds.sheets import centred
from topogen.topology.strata.links import link_betti, sphere_betti
from topogen.topology.strata.strata import Stratum
from topogen.verification.claims import make_claim
from topogen.verification.verdict import Claim

__all__ = ["strata_claims"]

PLACES, MOST, FAR = 20, 0.75, 4.0


def strata_claims(name: str, points: Tensor, dim: int, strata: Sequence[Stratum]) -> tuple[Claim, ...]:
    """One claim per stratum of points (n, D): that the set called `name` is no manifold there, which holds where three quarters of its links say so."""
    if not strata:
        return ()
    control = _control(points, dim, strata)
    return tuple(_claim(name, points, dim, stratum, control) for stratum in strata)


def _claim(name: str, points: Tensor, dim: int, stratum: Stratum, control: Counter[tuple[int, ...] | None]) -> Claim:
    near = points[stratum.rows]
    places = near[:: max(1, len(near) // PLACES)]
    seen = Counter(link_betti(points, centred(near, p, stratum.dim, stratum.width)[0], stratum.width, dim) for p in places)
    wanted, decided = sphere_betti(dim), seen.total() - seen[None]
    other = decided - seen[wanted]
    common = max((betti for betti in seen if betti is not None), key=lambda betti: seen[betti], default=None)
    text = f"{name} is no manifold at {stratum.to_text()}: links there have Betti numbers {_said(common)}, in a manifold {_said(wanted)}"
    regular = f"{control[wanted]} of {control.total()} regular places have the link of a manifold"
    holds = True if decided and other >= MOST * seen.total() and control[wanted] >= MOST * control.total() else None
    middle = near.mean(0) if stratum.dim == 0 else None
    evidence = {**stratum.to_dict(), "links": {str(k): v for k, v in seen.items()}, "regular": {str(k): v for k, v in control.items()}}
    evidence["place"] = None if middle is None else middle.tolist()
    return make_claim(
        "strata", text, holds, f"{other} of {seen.total()} places differ; {regular}", "sheets are farther apart than the sampling resolves", evidence
    )


def _control(points: Tensor, dim: int, strata: Sequence[Stratum]) -> Counter[tuple[int, ...] | None]:
    """Links at regular places, far from all strata."""
    width = max(stratum.width for stratum in strata)
    away = (nearest_distance(points, torch.cat([points[s.rows] for s in strata])) > FAR * width).nonzero().squeeze(1)
    return Counter(link_betti(points, points[i], width, dim) for i in away[:: max(1, len(away) // PLACES)].tolist())


def _said(betti: tuple[int, ...] | None) -> str:
    return "not told" if betti is None else f"({','.join(map(str, betti))})"
