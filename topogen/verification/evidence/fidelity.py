"""Whether a learned manifold M is the set X that its data sample: both sides of their distance, against what noise and spacing explain.

With r(x) the spacing around a data point x (`spacing`), rho the reach of M, and t(N) what noise of sigma per coordinate moves a point off a set of
codimension c with a probability below 1 / N,

    t(N) = sigma (sqrt(c) + sqrt(2 ln N))            (Laurent, Massart 2000, lemma 1),

1. the data lie on M: next to no x of n is farther from M than h(x) + t(1000 n), h = min(r, r^2 / (2 rho)) the height of an arc of radius rho over a chord of
   2 r, which is all that M can miss between points that it passes through. Where only noise explains the distances they have to look like noise
   (`residual_noise`);
2. M lies along the data: no m in M is farther from the nearest point x than 2 r(x). For points that are dense enough and even, both balls hold k points on
   average, in every dimension, and noise widens both;
3. where the data leave a Betti number open that is then taken from M: the largest distance of an m to the data, sqrt(d^2 + t(20)^2) with the noise of the
   nearest, whose direction is any, is below the reach of M. If the Hausdorff distance of M and X is below the reach of both, the closest-point maps
   between them are homotopy inverse: the segment from x to its image and back stays within reach. The reach of X is assumed; that of M is sampled, an
   upper bound, so that it can break the claim and never proves it.

M is known by samples of it and by where starts all over the box of the data end on it. A planted fault breaks one of the three: a missing component or a sphere
through a torus the first, a bridge, a filled handle or a ghost the second, a handle of the width of the spacing the third.

Two of them refute, where the points are an independent draw. More than 1 % of the points lie farther off M than three times what is explained: no noise of
three times what is seen does that. Or, where a bound R of the largest over the smallest density is stated, a share v of M has no point near it, n v / R >= 10:
ten points or more are expected there, and a part of M chosen beforehand is empty with a probability below e^-10. Without a stated bound an empty part keeps
from CONFIRMED and refutes nothing: the density may be as low there as it likes.
Federer (1959), Curvature measures, theorem 4.8; Laurent, Massart (2000), Adaptive estimation of a quadratic functional by model selection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.clouds.independence import dependence
from topogen.geometry.clouds.neighbours import nearest, nearest_distance
from topogen.geometry.clouds.point_clouds import LOCAL_ROWS, distinct_rows, random_rows
from topogen.geometry.clouds.reach import low_reach
from topogen.geometry.clouds.scales import noise_level
from topogen.manifolds.base import Manifold
from topogen.verification.claims import make_claim
from topogen.verification.evidence.residual_noise import speaks_against_noise
from topogen.verification.evidence.spacing import separate_rows, spacing
from topogen.verification.shares import exceeds, share_bounds
from topogen.verification.verdict import Claim

__all__ = ["Fidelity", "Noise", "ProjectedData", "fidelity", "seen_noise"]

FEW, MANY = 1e-3, 1e-2
GROSS = 3.0
ALONG = 2.0
ONE_IN, NEAREST_OF = 1000.0, 20.0
EXPECTED = 10.0
REACH_SAMPLES = 4000


class ProjectedData(NamedTuple):
    """Data points (n, D) and, in the coordinates of the manifold, the points (n, D') and their closest ones on it, `feet` (n, D'), not finite where they do
    not project; their distances (n,) to it, infinite there."""

    points: Tensor
    inside: Tensor
    feet: Tensor
    distance: Tensor


class Noise(NamedTuple):
    """Noise of `sigma` per coordinate (data units) off a set of codimension `codim`."""

    sigma: float
    codim: int

    def beyond(self, one_in: float) -> float:
        """t: how far it moves a point with a probability below 1 / `one_in`."""
        return self.sigma * (math.sqrt(self.codim) + math.sqrt(2 * math.log(one_in)))


@dataclass(frozen=True)
class Fidelity:
    """The deciding claims `on` (data on the manifold), `along` (the manifold along the data) and `within` (their distance within its reach)."""

    on: Claim
    along: Claim
    within: Claim

    @property
    def holds(self) -> bool:
        """Whether all three do, so that the manifold may speak where the data do not decide."""
        return all(claim.holds is True for claim in (self.on, self.along, self.within))


def fidelity(manifold: Manifold, own: Tensor, samples: Tensor, landed: int, data: ProjectedData, noise: Noise, density_ratio: float | None = None) -> Fidelity:
    """The three claims about points (k, D) of a manifold, of which the first `landed` are the ends of starts and the others samples, and data.

    `own`: the same points in the coordinates of the manifold, where these are not those of the data; `density_ratio`: R, where it is stated.
    """
    points, drawn = data.points, dependence(data.points)
    around = spacing(data.inside, manifold.dim, ordered=drawn.ordered)
    reach = low_reach(own[:REACH_SAMPLES], manifold.tangent_basis(own[:REACH_SAMPLES]))
    # A sample is on M too: points that a gate keeps from projecting are no farther from M than from the nearest one.
    distance = torch.minimum(data.distance, nearest_distance(points, samples))
    missed = torch.minimum(around, around.square() / (2 * reach))
    moved = noise.beyond(ONE_IN * len(points))
    unlike = "" if int((distance > missed).sum()) <= FEW * len(points) else _unlike_noise(manifold, data, missed, noise)
    gap, near = nearest(data.inside, 1, own)
    off = gap[:, 0] > ALONG * around[near[:, 0]]
    empty = 0 if drawn.found else int(off[landed:].sum())
    return Fidelity(
        _on(distance, missed + moved, unlike, independent=not drawn.found),
        _along(gap[:, 0], off, density_ratio if _refutes(empty, len(off) - landed, len(points), density_ratio) else None),
        _within(reach, nearest_distance(samples, points), noise.beyond(NEAREST_OF)),
    )


def _unlike_noise(manifold: Manifold, data: ProjectedData, missed: Tensor, noise: Noise) -> str:
    """Why distances from the manifold that only noise explains are no noise; empty where nothing says so."""
    rows = separate_rows(data.inside, manifold.dim)
    rows = rows[data.feet[rows].isfinite().all(1)]
    own = noise._replace(codim=manifold.codim).beyond(ONE_IN * len(rows)) if len(rows) else 0.0
    return speaks_against_noise(data.inside[rows] - data.feet[rows], data.feet[rows], manifold.codim, own, missed[rows])


def _refutes(empty: int, samples: int, n: int, density_ratio: float | None) -> bool:
    """Whether so many of the samples far from all n data show a part of M that a draw from all of M, under a stated bound of its density, would have met."""
    return bool(samples) and density_ratio is not None and share_bounds(empty, samples)[0] * n / density_ratio >= EXPECTED


def seen_noise(points: Tensor, manifold: Manifold, generator: torch.Generator) -> Noise:
    """The noise that is seen in points (n, D) in all coordinates; 0 where there are too few points to see any."""
    cloud = distinct_rows(points)
    if len(cloud) < manifold.dim + 2:
        return Noise(0.0, manifold.codim)
    rows = cloud if len(cloud) <= LOCAL_ROWS else cloud[random_rows(len(cloud), LOCAL_ROWS, generator)]
    found = noise_level(rows, manifold.dim, generator=generator)
    return Noise(found.noise if found.resolved else 0.0, manifold.codim)


def _on(distance: Tensor, allowed: Tensor, unlike: str, *, independent: bool) -> Claim:
    off, count = int((distance > allowed).sum()), len(distance)
    worst = float(distance.max())
    gross = independent and exceeds(int((distance > GROSS * allowed).sum()), count, MANY) is True
    text = f"the data lie on the subject: {off} of {count} points are farther from it than spacing and noise around them explain, the farthest {worst:.3g}"
    bound = f"{off} points are off it, the farthest {worst:.3g}" if off > FEW * count else unlike
    assumed = f"points are independent, and their noise is at most {GROSS:g} times what is seen" if gross else "the noise is what is seen"
    evidence = {"off": off, "points": count, "farthest": worst}
    return make_claim("fidelity", text, not bound, bound, assumed, evidence, label="statistical" if gross else "heuristic", decides=True)


def _along(gap: Tensor, far: Tensor, refuting_ratio: float | None) -> Claim:
    off, farthest = int(far.sum()), float(gap.max())
    text = f"the subject lies along the data: {off} of {len(gap)} samples are farther from them than their spacing explains, the farthest {farthest:.3g}"
    bound = f"{off} samples are far from all data, the farthest {farthest:.3g}" if off else ""
    gradual = "the density falls no faster than it is seen to"
    refutes = refuting_ratio is not None
    assumed = f"points are independent, and their largest density is at most {refuting_ratio:g} times the smallest, as stated" if refutes else gradual
    evidence = {"off": off, "samples": len(gap), "farthest": farthest}
    return make_claim("fidelity", text, off == 0, bound, assumed, evidence, label="statistical" if refutes else "heuristic", decides=True)


def _within(reach: float, gap: Tensor, moved: float) -> Claim:
    farthest = float(gap.max())
    text = f"no sample is farther from the data ({farthest:.3g}, and {moved:.3g} for their noise) than the reach of the subject ({reach:.3g})"
    bound = f"parts of the subject are {farthest:.3g} from all data, whose noise may be {moved:.3g}, and its reach is at most {reach:.3g}"
    holds = math.hypot(farthest, moved) < reach
    evidence = {"farthest": farthest, "noise": moved, "reach": reach}
    return make_claim("fidelity", text, holds, "" if holds else bound, "the reach of the true set is no smaller", evidence, label="heuristic", decides=True)
