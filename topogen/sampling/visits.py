"""Which components of a manifold chains have visited, how often, and means over components whose weights are known.

Components are told apart by a labelling of the user, or found (`connected_components`): the longest edges of a minimum spanning tree of the visited points
bridge components. An edge is cut when it is longer than three times the 99 % quantile of all edges (some thousand independent points on a curve have no
spacings above that) and than 5 % of the diameter. Where the manifold is given, pieces are joined again if a straight path between them, projected onto M, does
not tear: this tells a hole in the sampling from a gap in M.

With weights w_c of the components, values v and the mean m_c over the visits to c, of share s_c,

    mean = sum_c w_c m_c,       standard error = that of the mean of  z = sum_c w_c 1_c (v - m_c) / s_c    over the chains (`diagnostics`).

Gower, Ross (1969), Minimum spanning trees and single linkage cluster analysis; Geyer (1992), Practical Markov chain Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.base import Manifold
from topogen.sampling.connected_components import connected_components
from topogen.sampling.diagnostics import mean_standard_error

__all__ = ["Mean", "Visits", "mixture", "visits", "weighted_mean"]

Labelling = Callable[[Tensor], Tensor]


class Mean(NamedTuple):
    """A `value` with its Monte Carlo `standard_error`."""

    value: float
    standard_error: float


@final
@dataclass(frozen=True)
class Visits:
    """Where n_chains chains were at n_kept times.

    `labels` (n_kept, n_chains) int64; `components` (c,) int64: the labels that are known, visited or not, the most visited first where they were found;
    `shares` (c,) of the positions with their Monte Carlo `standard_errors` (c,), NaN where one component only was seen of several; `transitions`: how often
    a chain changed its component from one kept position to the next; `chains` (c,) int64: how many chains visited each.
    """

    labels: Tensor
    components: Tensor
    shares: Tensor
    standard_errors: Tensor
    transitions: int
    chains: Tensor

    @property
    def visited(self) -> Tensor:
        """Mask (c,) of the components that were visited."""
        return self.shares > 0

    @property
    def warning(self) -> str:
        """One line on what must not be overlooked, empty if nothing: components never visited, or shares that are those of the starts."""
        known, visited = len(self.components), int(self.visited.sum())
        if visited < known:
            missing = ", ".join(str(int(c)) for c in self.components[~self.visited][:10])
            return f"{known} components known, {visited} visited (never: {missing})"
        if visited > 1 and not self.transitions:
            return f"{visited} components visited, no chain moved between them: the shares are those of the starts; make jumps, or give weights to `mixture`"
        n_chains = self.labels.shape[1]
        if visited > 1 and self.transitions < n_chains:
            return f"{visited} components visited, only {self.transitions} moves between them by {n_chains} chains: the shares lean towards the starts"
        return ""

    def to_text(self) -> str:
        """A line per component and the warning."""
        n_chains = self.labels.shape[1]
        rows = zip(self.components.tolist(), self.shares.tolist(), self.standard_errors.tolist(), self.chains.tolist(), strict=True)
        lines = [f"component {c}: share {share:.4g} +- {error:.2g}, visited by {chains} of {n_chains} chains" for c, share, error, chains in rows]
        return "\n".join([*lines, f"{self.transitions} transitions", *([f"warning: {self.warning}"] if self.warning else [])])


def visits(points: Tensor, labelling: Labelling | None = None, *, manifold: Manifold | None = None, reference: Tensor | None = None) -> Visits:
    """Visits of chains at points (n_kept, n_chains, D) to the components of M.

    `labelling` maps rows (n, D) to component numbers (n,); without it components are found from the positions, which needs enough of them to fill the
    components to 1 % of the diameter or the `manifold` to tell holes from gaps. `reference` (m, D): points of components that are known.
    Raises InvalidInputError for wrong shapes, positions that are not finite, or a labelling that does not return (n,) integers.
    """
    _check(points, reference)
    pooled = points.detach().double().flatten(0, 1)
    known = pooled[:0] if reference is None else reference.detach().to(pooled)
    both = torch.cat([pooled, known])
    labels = connected_components(both, manifold) if labelling is None else _labelled(labelling, both)
    components = _most_frequent_first(labels[: len(pooled)], labels) if labelling is None else labels.unique()
    if labelling is None:
        labels = torch.empty_like(components).scatter_(0, components, torch.arange(len(components), device=labels.device))[labels]
        components = torch.arange(len(components), device=labels.device)
    return _counted(labels[: len(pooled)].reshape(points.shape[:2]), components)


def mixture(positions: Tensor, labels: Tensor, weights: Mapping[int, float] | Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n points (n, D), drawn with replacement from positions (..., D) with labels (...), in which component c has the share `weights[c]` up to rounding.

    Weights are made to sum to one; n w_c is rounded at random without bias. Raises InvalidInputError for negative weights or a component without positions.
    """
    flat, labelled = positions.reshape(-1, positions.shape[-1]), labels.reshape(-1)
    if n < 1 or len(flat) != len(labelled):
        raise InvalidInputError(f"n, labels: expected at least 1 and a label for each of the {len(flat)} positions, found {n} and {len(labelled)}")
    shares = _shares(weights, labelled)
    edges = torch.tensor(list(shares.values()), dtype=torch.float64).cumsum(0) * n
    first = torch.rand((), dtype=torch.float64, generator=generator)
    counts = (edges + first).floor().long().diff(prepend=torch.zeros(1, dtype=torch.int64))
    counts[-1] = n - counts[:-1].sum()
    rows = [_drawn((labelled == c).nonzero().squeeze(1), int(count), generator) for c, count in zip(shares, counts, strict=True) if int(count)]
    return flat[torch.cat(rows)[torch.randperm(n, generator=generator).to(flat.device)]]


def weighted_mean(values: Tensor, labels: Tensor, weights: Mapping[int, float] | Tensor) -> Mean:
    """Mean of values (n_steps, n_chains) with the components of labels (n_steps, n_chains) weighted by `weights`, and its standard error.

    Raises InvalidInputError for other shapes, negative weights or a component without values.
    """
    if values.ndim != 2 or values.shape != labels.shape:
        raise InvalidInputError(f"values, labels: expected the same shape (n_steps, n_chains), found {tuple(values.shape)} and {tuple(labels.shape)}")
    v = values.detach().double()
    mean, influence = 0.0, torch.zeros_like(v)
    for c, weight in _shares(weights, labels).items():
        inside = labels == c
        own = v[inside].mean()
        mean += weight * float(own)
        influence += weight * torch.where(inside, v - own, 0.0) / inside.double().mean()
    error = mean_standard_error(influence)
    return Mean(mean, 0.0 if not bool(influence.any()) else float(error))


def _check(points: Tensor, reference: Tensor | None) -> None:
    if not torch.is_tensor(points) or points.ndim != 3 or not points.numel():
        found = tuple(points.shape) if torch.is_tensor(points) else type(points).__name__
        raise InvalidInputError(f"points: expected a tensor (n_kept, n_chains, D) with entries, found {found}")
    if not bool(torch.isfinite(points).all()):
        raise InvalidInputError("points: found values that are not finite; leave those chains out")
    if reference is not None and (reference.ndim != 2 or reference.shape[1] != points.shape[2] or not bool(torch.isfinite(reference).all())):
        raise InvalidInputError(f"reference: expected finite points (m, {points.shape[2]}), found shape {tuple(reference.shape)}")


def _labelled(labelling: Labelling, points: Tensor) -> Tensor:
    labels = labelling(points)
    if not torch.is_tensor(labels) or labels.shape != points.shape[:1] or labels.is_floating_point() or labels.is_complex():
        found = f"{labels.dtype} {tuple(labels.shape)}" if torch.is_tensor(labels) else type(labels).__name__
        raise InvalidInputError(f"labelling: expected an integer tensor ({len(points)},) for rows (n, D), found {found}")
    return labels.long()


def _most_frequent_first(visited: Tensor, labels: Tensor) -> Tensor:
    number = int(labels.max()) + 1
    return torch.bincount(visited, minlength=number).sort(descending=True, stable=True).indices


def _counted(labels: Tensor, components: Tensor) -> Visits:
    present = labels.unsqueeze(-1) == components
    shares = present.double().mean((0, 1))
    errors = torch.stack([mean_standard_error(inside.double()) for inside in present.unbind(-1)])
    errors = errors if len(components) > 1 else torch.zeros_like(errors)
    return Visits(labels, components, shares, errors, int((labels[1:] != labels[:-1]).sum()), present.any(0).sum(0))


def _shares(weights: Mapping[int, float] | Tensor, labels: Tensor) -> dict[int, float]:
    """Positive weights by component, summing to one."""
    pairs = weights.items() if isinstance(weights, Mapping) else enumerate(weights.tolist())
    given = {int(c): float(w) for c, w in pairs}
    total = sum(given.values())
    if not given or min(given.values()) < 0 or not 0 < total < torch.inf:
        raise InvalidInputError(f"weights: expected numbers >= 0 with a positive sum, found {given}")
    positive = {c: w / total for c, w in given.items() if w > 0}
    empty = sorted(set(positive) - set(labels.unique().tolist()))
    if empty:
        raise InvalidInputError(f"weights: component {empty[0]} has weight {positive[empty[0]]:.3g} but no positions; start chains there")
    return positive


def _drawn(rows: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    return rows[torch.randint(len(rows), (count,), generator=generator).to(rows.device)]
