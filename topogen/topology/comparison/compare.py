"""`compare`: two clouds, side by side: distances, classes that only one has, tests, and how much of each the other covers.

    Hausdorff distance      exact; diagrams in radius units differ by at most that (`hausdorff`)
    excess                  classes that one cloud provably has and the other has not (`landmark_bounds`)
    split halves            a permutation test on bottleneck distances, per degree (`permutation_test`)
    only in x, only in y    bars without a partner that are longer than chance makes them, and where they lie (`diagram_matching`)
    MTop-Div                structure of one cloud that the other leaves unfilled, both ways (`mtop_divergence`)
    precision_recall        precision, recall, density, coverage of y as samples of x (`precision_recall`)
    Wasserstein, MMD        distances of the clouds as distributions (`wasserstein`, `mmd`)

None of these is a verdict: `topogen.verify` compares homology under a stated scale and assumption. Here stands what the points themselves say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import Landmarks, farthest_points
from topogen.topology.comparison.diagram_matching import UnmatchedFeature, unmatched_features
from topogen.topology.comparison.mmd import MaximumMeanDiscrepancy, mmd
from topogen.topology.comparison.mtop_divergence import MTopDivergence, mtop_divergence
from topogen.topology.comparison.permutation_test import PermutationTest, permutation_test
from topogen.topology.comparison.precision_recall import PrecisionRecall, precision_recall
from topogen.topology.comparison.wasserstein import Wasserstein, wasserstein
from topogen.topology.inference.landmark_bounds import Excess, excess
from topogen.topology.persistence.budget import Budget
from topogen.topology.persistence.hausdorff import Hausdorff, check_pair, hausdorff
from topogen.topology.persistence.persistence import Diagram, persistence

__all__ = ["Comparison", "compare"]

ALPHA_LANDMARKS, RIPS_LANDMARKS = 2000, 300
NEIGHBOURS, DRAWS = 5, 5
LISTED = 5


@dataclass(frozen=True)
class Comparison:
    """What two clouds x and y have in common and what not; lengths in data units, scales of features as radii, MTop-Div in distances.

    `x_only_proved`, `y_only_proved`: theorems about the points: classes of one cloud that no cloud has that is as near to the other as chance moves diagrams;
    `only_x`, `only_y`: bars longer than twice what random splits make, with their places;
    `x_beyond_y`: MTop-Div of x with y as the clump, large where x has structure that y does not fill; `y_beyond_x` the other way round.
    """

    n_x: int
    n_y: int
    ambient_dim: int
    hausdorff: Hausdorff
    x_only_proved: tuple[Excess, ...]
    y_only_proved: tuple[Excess, ...]
    halves: PermutationTest
    only_x: tuple[UnmatchedFeature, ...]
    only_y: tuple[UnmatchedFeature, ...]
    x_beyond_y: MTopDivergence
    y_beyond_x: MTopDivergence
    precision_recall: PrecisionRecall
    wasserstein: Wasserstein
    mmd: MaximumMeanDiscrepancy

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        lists = ("x_only_proved", "y_only_proved", "only_x", "only_y")
        single = ("hausdorff", "halves", "x_beyond_y", "y_beyond_x", "precision_recall", "wasserstein", "mmd")
        return {
            **{name: getattr(self, name) for name in ("n_x", "n_y", "ambient_dim")},
            **{name: getattr(self, name).to_dict() for name in single},
            **{name: [entry.to_dict() for entry in getattr(self, name)] for name in lists},
        }

    def to_text(self) -> str:
        """The comparison for people."""
        return "\n".join(line for part in (_distances, _proved, _tested, _covered) for line in part(self))


def compare(
    x: Tensor,
    y: Tensor,
    *,
    max_degree: int | None = None,
    fields: Sequence[int] = (2, 3),
    landmarks: int | None = None,
    permutations: int = 99,
    engine: str = "auto",
    budget: Budget | None = None,
    generator: torch.Generator | None = None,
) -> Comparison:
    """Compare clouds x (n, D) and y (m, D) of at least 12 points each, in the same units; y is taken for samples of x where the order matters.

    `max_degree`: up to which degree bars are compared (None: D - 1 up to D = 3, above 1); `fields`: primes p of homology over Z/p; `landmarks`: farthest points
    of each cloud behind the diagrams (None: 2000 for the alpha complex, 300 for Rips); `permutations` of the test of split halves; `engine` and `budget` as in
    `persistence`. Deterministic for a given generator (None: torch's global one). Raises InvalidInputError for clouds that cannot be compared,
    BudgetExceeded before the work starts.
    """
    check_pair(x, y, least=12)
    alpha = engine == "alpha" or (engine == "auto" and x.shape[1] <= 3)
    degree = min(2, x.shape[1] - 1) if max_degree is None and alpha else 1 if max_degree is None else max_degree
    count = landmarks or (ALPHA_LANDMARKS if alpha else RIPS_LANDMARKS)
    if count < 2:
        raise InvalidInputError(f"landmarks: expected at least 2, found {landmarks}")
    halves = permutation_test(
        x, y, max_degree=degree, permutations=permutations, field=fields[0] if fields else 2, engine=engine, budget=budget, generator=generator
    )
    sides = [_diagrams(cloud, count, degree, fields, engine, budget) for cloud in (x, y)]
    (chosen_x, of_x), (chosen_y, of_y) = sides
    back = (chosen_x.radius, chosen_y.radius)
    floors = [2 * max(chance, *back) for chance in halves.by_chance]
    return Comparison(
        n_x=len(x),
        n_y=len(y),
        ambient_dim=x.shape[1],
        hausdorff=hausdorff(x, y),
        x_only_proved=excess(of_x, of_y, back, max(halves.by_chance)),
        y_only_proved=excess(of_y, of_x, back[::-1], max(halves.by_chance)),
        halves=halves,
        only_x=unmatched_features(of_x[halves.field], of_y[halves.field], floors, chosen_x),
        only_y=unmatched_features(of_y[halves.field], of_x[halves.field], floors, chosen_y),
        x_beyond_y=mtop_divergence(x, y, draws=DRAWS, budget=budget, generator=generator),
        y_beyond_x=mtop_divergence(y, x, draws=DRAWS, budget=budget, generator=generator),
        precision_recall=precision_recall(x, y, k=NEIGHBOURS, generator=generator),
        wasserstein=wasserstein(x, y, generator=generator),
        mmd=mmd(x, y, generator=generator),
    )


def _diagrams(cloud: Tensor, count: int, degree: int, fields: Sequence[int], engine: str, budget: Budget | None) -> tuple[Landmarks, dict[int, Diagram]]:
    chosen = farthest_points(cloud, count)
    return chosen, persistence(chosen.points, max_degree=degree, fields=fields, engine=engine, budget=budget)


def _distances(found: Comparison) -> list[str]:
    h, t, d = found.hausdorff, found.wasserstein, found.mmd
    return [
        f"x {found.n_x} and y {found.n_y} points in R^{found.ambient_dim}; lengths in data units, scales as radii",
        f"Hausdorff distance {h.distance:.4g}: x to y {h.there:.4g} at most, {h.mean_there:.4g} on average; y to x {h.back:.4g}, {h.mean_back:.4g};"
        f" bars of diagrams differ by at most {h.distance:.4g}",
        f"Wasserstein-2 distance {t.exact:.4g} ({t.n_exact} points each; two parts of x are {t.within:.4g} apart), sliced {t.sliced:.4g}",
        f"MMD^2 {d.squared:.3g}, p = {d.p_value:.3g} ({d.permutations} permutations; Gaussian kernel of width {d.bandwidth:.3g})",
    ]


def _proved(found: Comparison) -> list[str]:
    lines = []
    for name, other, entries in (("x", "y", found.x_only_proved), ("y", "x", found.y_only_proved)):
        lines += [
            f"[proved-for-sample] {name} has {e.count} more of H_{e.degree} over Z/{e.field} from radius {e.start:.3g} to {e.stop:.3g}"
            f" than any cloud within {e.tolerance:.3g} of {other}"
            for e in entries
        ]
    return lines


def _tested(found: Comparison) -> list[str]:
    h = found.halves
    degrees = "; ".join(f"H_{k} {d:.3g} (by chance {c:.3g}), p = {p:.3g}" for k, (d, c, p) in enumerate(zip(h.distances, h.by_chance, h.p_values, strict=True)))
    lines = [f"[statistical] bottleneck distances of {h.size} points each: {degrees}; over all degrees p = {h.p_value:.3g}"]
    for name, features in (("x", found.only_x), ("y", found.only_y)):
        lines += [f"only in {name}: {feature.to_text()}" for feature in features[:LISTED]]
        lines += [f"only in {name}: {len(features) - LISTED} more"] if len(features) > LISTED else []
    return lines


def _covered(found: Comparison) -> list[str]:
    o, there, back = found.precision_recall, found.x_beyond_y, found.y_beyond_x
    return [
        f"y as samples of x: precision {o.precision:.3f}, recall {o.recall:.3f}, density {o.density:.3f}, coverage {o.coverage:.3f} (k = {o.k})",
        f"MTop-Div (distances) of x beyond y {there.value:.3g} +- {there.standard_error:.2g}, of y beyond x {back.value:.3g} +- {back.standard_error:.2g}",
    ]
