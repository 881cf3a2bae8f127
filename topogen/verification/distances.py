"""How far two sets are from each other: claims that stand beside a verdict about topology.

The Hausdorff distance d_H(X, Y) = max(max_x d(x, Y), max_y d(y, X)) of two finite clouds is exact; of a cloud and a manifold M only the
side sup_x |x - project(x)| is, with the closest points of the farthest x, while M to X is taken over samples of M. By stability persistence bars of X and Y
differ by at most d_H.
Cohen-Steiner, Edelsbrunner, Harer (2007), Stability of persistence diagrams.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest_distance
from topogen.manifolds import Manifold
from topogen.verification.claims import make_claim
from topogen.verification.verdict import Claim

__all__ = ["between_clouds", "nearest_on", "quantile", "samples_to_data", "to_manifold"]

FARTHEST = 20


def between_clouds(subject: Tensor, against: Tensor) -> list[Claim]:
    """Hausdorff and mean distances between two clouds (n, D) and (m, D); no claim where their ambient dimensions differ."""
    if subject.shape[1] != against.shape[1]:
        return []
    there, back = nearest_distance(subject, against), nearest_distance(against, subject)
    evidence = {
        "hausdorff": max(float(there.max()), float(back.max())),
        "mean_subject_to_against": float(there.mean()),
        "mean_against_to_subject": float(back.mean()),
        "max_subject_to_against": float(there.max()),
        "max_against_to_subject": float(back.max()),
    }
    text = (
        f"Hausdorff distance of subject and against {evidence['hausdorff']:.3g}; to the nearest point on average"
        f" {evidence['mean_subject_to_against']:.3g} there, {evidence['mean_against_to_subject']:.3g} back"
    )
    return [make_claim("distances", text, True, evidence=evidence)]


def to_manifold(distance: Tensor) -> Claim:
    """The distances (n,) to a manifold that `nearest_on` found; the claim is that all points could be projected."""
    count, distance = len(distance), distance[distance.isfinite()]
    failed = count - len(distance)
    if not len(distance):
        return make_claim("distances", f"none of {count} points could be projected onto the manifold", False, evidence={"unconverged": failed})
    evidence = {"mean": float(distance.mean()), "q99": quantile(distance, 0.99), "max": float(distance.max()), "unconverged": failed, "points": count}
    text = f"distance of against to the manifold {evidence['mean']:.3g} on average, {evidence['q99']:.3g} at 99 %, {evidence['max']:.3g} at most"
    bound = f"{failed} of {count} points could not be projected" if failed else ""
    return make_claim("distances", text, failed == 0, bound, evidence=evidence)


def nearest_on(manifold: Manifold, points: Tensor) -> tuple[Tensor, Tensor]:
    """Closest points (n, D) of the manifold to points (n, D), and their distances |x - project(x)| (n,), infinite where they could not be projected.

    They are looked for where they decide, at the farthest twentieth; elsewhere the fast projection stands for them, which is no nearer.
    """
    quick = manifold.with_fast_projection()
    projection = quick.project(points)
    near, ok = projection.points, projection.converged
    if quick is not manifold:
        far = (points - near).norm(dim=1).masked_fill(~ok, torch.inf).topk(min(len(points), int((~ok).sum()) + -(-len(points) // FARTHEST))).indices
        again = manifold.project(points[far])
        near, ok = near.index_copy(0, far, again.points), ok.index_copy(0, far, again.converged)
    return near, torch.where(ok, (points - near).norm(dim=1), torch.inf)


def samples_to_data(samples: Tensor, points: Tensor) -> Claim:
    """Distances of samples (n, D) of a manifold to the nearest data point (m, D), and back."""
    there, back = nearest_distance(samples, points), nearest_distance(points, samples)
    evidence = {
        "mean_to_data": float(there.mean()),
        "q99_to_data": quantile(there, 0.99),
        "max_to_data": float(there.max()),
        "max_from_data": float(back.max()),
        "hausdorff": max(float(there.max()), float(back.max())),
    }
    text = (
        f"samples to the nearest data point {evidence['mean_to_data']:.3g} on average, {evidence['max_to_data']:.3g} at most;"
        f" data to the nearest sample {evidence['max_from_data']:.3g} at most"
    )
    return make_claim("distances", text, True, evidence=evidence)


def quantile(values: Tensor, level: float) -> float:
    """The smallest value that at least a share `level` of the values does not exceed."""
    ordered = values.detach().reshape(-1).double().sort().values
    index = max(0, min(len(ordered) - 1, int(torch.ceil(torch.tensor(level * len(ordered), dtype=torch.float64) - 1e-9)) - 1))
    return float(ordered[index])
