"""Log densities of several models at the same held-out points, compared in pairs.

With L_a(x), L_b(x) the log densities of two models at points x_1 .. x_m where both have one, the difference

    mean_i (L_a(x_i) - L_b(x_i)),      standard error  std_i (L_a(x_i) - L_b(x_i)) / sqrt(m),

is known far better than either mean: what is hard to predict is so for both. Points are taken as independent.
Vuong (1989), Likelihood ratio tests for model selection and non-nested hypotheses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.distributions.uniform.estimate import Estimate
from topogen.errors import InvalidInputError

__all__ = ["ScoreComparison", "compare_scores", "paired_difference"]

TOLD_APART = 2.0


@dataclass(frozen=True)
class ScoreComparison:
    """Models by `names`, the best first.

    `means`: log density of each over the points that all of them score, nats; `behind`: how far each is behind the first, with the standard error of the
    paired difference; `scored`: the number of those points; `lost`: how many points each gives no finite log density.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    behind: tuple[Estimate, ...]
    scored: int
    lost: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        rows = zip(self.names, self.means, self.behind, self.lost, strict=True)
        models = [{"model": name, "mean_log_density": mean, "behind": behind.to_dict(), "lost": lost} for name, mean, behind, lost in rows]
        return {"scored": self.scored, "models": models}

    def to_text(self) -> str:
        """A line for each model."""
        width = max(map(len, self.names))
        lines = [f"mean log density (nats) of {self.scored} points that all models score; behind the best, with the standard error of the paired difference"]
        for name, mean, behind, lost in zip(self.names, self.means, self.behind, self.lost, strict=True):
            first = name == self.names[0]
            gap = "the best" if first else f"{behind.value:.4f} +- {behind.standard_error:.4f} behind" + ("" if _apart(behind) else ", not told apart")
            lines.append(f"{name:<{width}}  {mean:>9.4f}  {gap}{f'; {lost} points without a density' if lost else ''}")
        return "\n".join(lines)


def compare_scores(scores: Mapping[str, Tensor]) -> ScoreComparison:
    """Compare log densities (m,) of two or more models at the same points.

    Raises InvalidInputError for fewer than two models, different numbers of points, or fewer than two points that all models score.

    Example:
        >>> import torch
        >>> from topogen.distributions.score_comparison import compare_scores
        >>> found = compare_scores({"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([1.5, 2.5, 3.5])})
        >>> found.names, found.behind[1].value, found.behind[1].standard_error
        (('b', 'a'), 0.5, 0.0)
    """
    if len(scores) < 2 or len({tuple(values.shape) for values in scores.values()}) > 1:
        raise InvalidInputError(f"scores: expected at least two models at the same points, found {[(n, tuple(v.shape)) for n, v in scores.items()]}")
    table = torch.stack([values.detach().double() for values in scores.values()])
    finite = torch.isfinite(table)
    common = finite.all(0)
    scored = int(common.sum())
    if scored < 2:
        losses = ", ".join(f"{name} {int(lost)}" for name, lost in zip(scores, (~finite).sum(1), strict=True))
        raise InvalidInputError(f"scores: {scored} points have a density under all models (without: {losses}); leave models out that miss the data")
    kept = table[:, common]
    order = kept.mean(1).argsort(descending=True, stable=True).tolist()
    behind = [paired_difference(kept[order[0]], kept[i]) for i in order]
    names = list(scores)
    return ScoreComparison(
        tuple(names[i] for i in order), tuple(float(kept[i].mean()) for i in order), tuple(behind), scored, tuple(int((~finite[i]).sum()) for i in order)
    )


def paired_difference(first: Tensor, second: Tensor) -> Estimate:
    """The mean of first - second over the same points (m,), with its standard error."""
    gap = first - second
    return Estimate(float(gap.mean()), float(gap.std()) / len(gap) ** 0.5, f"paired over {len(gap)} points")


def _apart(behind: Estimate) -> bool:
    return behind.value > TOLD_APART * behind.standard_error
