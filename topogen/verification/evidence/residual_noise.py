"""Do the distances of data from a manifold look like noise? A wrong manifold leaves residuals as well, and they pass for noise if only their size is asked.

Let e be the normal parts of the data, in codimension c.

*Dense at the manifold.* Where the density of e falls with |e|, |e|^c is a mixture of uniform laws on [0, b] (Khinchine), and by Jensen's inequality

    E V^2 / (E V)^2 >= (c + a)^2 / (c (c + 2 a)),     V = |e|^a,

4/3 for a = c, with equality for the uniform ball. Points on both sides of a manifold that lies between two sheets have 1.

*Independent.* The residuals of x and y whose closest points on the manifold are neighbours are uncorrelated: E <e(x), e(y)> = 0. Where a share p of the
points lies on another sheet than the manifold it is p E|e|^2, where the manifold is bent away from the data nearly all of it.

*Centred.* The mean of e over the K points whose closest points lie around one of them is below h + t / sqrt(K), with h what spacing explains there and t
what moves one point of all by noise with a probability below one in a thousand. A part of the data that the manifold leaves together is seen where it is
wider than K points, K = ln n and four times that.

The first is asked by an estimate with two standard errors; clouds of fifty points fail the second by chance now and then.
Khinchine (1938), On unimodal distributions.
"""

from __future__ import annotations

import math

from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest

__all__ = ["speaks_against_noise"]

HIGHEST, ERRORS = 3, 2.0
SHARED = 0.25
FEWEST = 12
WIDER = 4


def speaks_against_noise(offsets: Tensor, feet: Tensor, codim: int, moved: float, missed: Tensor) -> str:
    """Why the offsets (n, D) of points from their closest points `feet` (n, D) on a manifold are no noise, in words; empty where nothing says so.

    `moved`: t, how far noise moves one point of all; `missed` (n,): what spacing explains.
    """
    if len(feet) < FEWEST:
        return f"{len(feet)} points are too few to tell noise from a misfit"
    shared = _shared(offsets, feet)
    if shared > SHARED:
        return f"neighbours are off it together ({shared:.0%} of the variance; of noise none), which no noise explains"
    together = _off_together(offsets, feet, moved, missed)
    if together:
        return f"{together} points are off it together with those around them, which no noise explains"
    power = min(codim, HIGHEST)
    ratio, error = _moments(offsets.norm(dim=1) ** power)
    least = (codim + power) ** 2 / (codim * (codim + 2 * power))
    if ratio + ERRORS * error < least:
        return "the points lie beside it and not around it, which no noise explains"
    return ""


def _shared(offsets: Tensor, feet: Tensor) -> float:
    """The share of E|e|^2 that the residuals of neighbours on the manifold have in common: neighbours among the points have like residuals by choice."""
    partner = nearest(feet, 1)[1][:, 0]
    return float((offsets * offsets[partner]).sum() / offsets.square().sum().clamp_min(1e-300))


def _off_together(offsets: Tensor, feet: Tensor, moved: float, missed: Tensor) -> int:
    """How many points lie in neighbourhoods whose mean offset is more than spacing and noise explain, at the width where they are most."""
    few = math.ceil(math.log(len(feet)))
    around = nearest(feet, WIDER * few, feet)[1]
    found = [offsets[around[:, :count]].mean(1).norm(dim=1) > missed + moved / math.sqrt(count) for count in (few, around.shape[1])]
    return max(int(off.sum()) for off in found)


def _moments(values: Tensor) -> tuple[float, float]:
    """E V^2 / (E V)^2 of values (n,), and its standard error by the delta method."""
    v = values / values.mean().clamp_min(1e-300)
    ratio = v.square().mean()
    influence = v.square() - ratio - 2 * ratio * (v - 1)
    return float(ratio), float(influence.std() / len(v) ** 0.5)
