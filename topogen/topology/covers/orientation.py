"""Orientability from the signs of chart transitions: the cocycle w_1 of a cover by charts and whether it bounds.

With T(x) any tangent basis at a sample x and T_k that of chart k, the transition between charts a and b keeps or reverses orientation as

    w(a, b; x) = sign(det(T_a^t T(x)) det(T_b^t T(x))),

whatever the sign of T(x); it is constant on each connected part of the overlap. M is orientable iff the charts can be given signs s_k with
s_a s_b = w on every part, that is iff the graph with the parts as signed edges has no odd cycle; a shortest one is the witness. Where a chart
folds over, det passes through 0 and the sign means nothing: a chart is cut to its *core*, the largest connected piece of its samples on which |det| exceeds
its largest change from a sample to its neighbours, so that no sign change hides between samples.

Milnor, Stasheff (1974), Characteristic classes, section 4; Paluzo-Hidalgo, Ike (2026), Learning tangent bundles and characteristic classes with
autoencoder atlases.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import components
from topogen.topology.covers.cells import cells, check_members, decode, graph, links, parts, seams, subsets
from topogen.topology.covers.odd_cycles import odd_cycle

__all__ = ["Orientation", "ChartOverlap", "sign_cocycle"]


class ChartOverlap(NamedTuple):
    """One connected part of the overlap of charts `a` < `b`: `sign` of the transition (0: mixed), number of `samples`, smallest |det| there (`margin`)."""

    a: int
    b: int
    sign: int
    samples: int
    margin: float


@dataclass(frozen=True)
class Orientation:
    """Whether M is orientable, with the cocycle it is read from.

    `orientable` None: undecided, `reason` says why; `witness`: the charts of a shortest odd cycle, empty unless not orientable (two charts: two
    parts of their overlap disagree); `pieces`: for each connected piece of M its charts and its own verdict; `ambiguous`: pairs of charts
    with a part of mixed sign; `folded`: charts larger than their core; `uncovered`: samples in no core; `smallest_determinant`: least |det| over
    the cores; `overlaps`: the cocycle w_1, one sign for each part of each overlap.
    """

    orientable: bool | None
    witness: tuple[int, ...]
    pieces: tuple[tuple[tuple[int, ...], bool | None], ...]
    ambiguous: tuple[tuple[int, int], ...]
    folded: tuple[int, ...]
    uncovered: int
    seams: int
    smallest_determinant: float
    reason: str
    overlaps: tuple[ChartOverlap, ...]

    def to_text(self) -> str:
        """A few lines for people: the verdict, its witness or margin, what was cut or undecided."""
        verdict = {True: "orientable", False: "not orientable", None: f"orientability undecided: {self.reason}"}[self.orientable]
        reversing = sum(overlap.sign < 0 for overlap in self.overlaps)
        lines = [verdict, f"{len(self.overlaps)} parts of overlaps, {reversing} of them reverse orientation; smallest |det| {self.smallest_determinant:.3g}"]
        if self.witness:
            lines.append(f"odd cycle of charts {' - '.join(map(str, (*self.witness, self.witness[0])))}")
        if len(self.pieces) > 1:
            lines.append(f"{len(self.pieces)} pieces: {dict(Counter(str(verdict) for _, verdict in self.pieces))}")
        if self.folded:
            lines.append(f"{len(self.folded)} charts fold over and were cut to their cores: {', '.join(map(str, self.folded[:10]))}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        pieces = [{"charts": list(charts), "orientable": verdict} for charts, verdict in self.pieces]
        listed = {name: list(getattr(self, name)) for name in ("witness", "folded")}
        overlaps = [overlap._asdict() for overlap in self.overlaps]
        return asdict(self) | listed | {"pieces": pieces, "ambiguous": [list(pair) for pair in self.ambiguous], "overlaps": overlaps}


def sign_cocycle(members: Tensor, determinants: Tensor, points: Tensor, dim: int) -> Orientation:
    """Whether a d-manifold M is orientable, by the signs of the transitions of K charts.

    `members` (n, K) bool: which charts each of n dense samples `points` (n, D) lies in; `determinants` (n, K): det(T_k^t T(x)) for a tangent basis
    T(x) of arbitrary sign at each sample, anything (nan) outside the chart. Deterministic. Not orientable rests on one odd cycle of charts and
    cores; orientable needs every sample in a core, neighbours in a common one, and no overlap of mixed sign, else the answer is None.
    Raises InvalidInputError for unusable members, points, or determinants that are not finite inside a chart.
    """
    members = check_members(members, dim)
    values = _check_determinants(determinants, members)
    near = graph(points, members, dim)
    cores, folded = _cores(members, values, near)
    overlaps = _overlaps(cores, values, links(near))
    bare = ~cores.any(1)
    loose = seams(cores, near) & ~bare
    pieces = _pieces(cores, overlaps, links(near), bare | loose)
    ambiguous = tuple(dict.fromkeys((o.a, o.b) for o in overlaps if o.sign == 0))
    verdicts = {verdict for _, _, verdict in pieces}
    orientable = False if False in verdicts else None if None in verdicts else True
    return Orientation(
        orientable=orientable,
        witness=min((cycle for _, cycle, _ in pieces if cycle), key=len, default=()),
        pieces=tuple((charts, verdict) for charts, _, verdict in pieces),
        ambiguous=ambiguous,
        folded=folded,
        uncovered=int(bare.sum()),
        seams=int(loose.sum()),
        smallest_determinant=float(values[cores].abs().min()) if bool(cores.any()) else 0.0,
        reason=_reason(ambiguous, int(bare.sum()), int(loose.sum())) if orientable is None else "",
        overlaps=overlaps,
    )


def _reason(ambiguous: tuple[tuple[int, int], ...], uncovered: int, loose: int) -> str:
    parts = [f"{len(ambiguous)} overlaps of mixed sign"] if ambiguous else []
    parts += [f"{uncovered} samples only in folded parts of charts"] if uncovered else []
    parts += [f"{loose} samples with a neighbour in no common chart"] if loose else []
    return "; ".join(parts) + "; use more and smaller charts"


def _check_determinants(determinants: Tensor, members: Tensor) -> Tensor:
    if not torch.is_tensor(determinants) or not torch.is_floating_point(determinants) or determinants.shape != members.shape:
        found = f"{determinants.dtype} of shape {tuple(determinants.shape)}" if torch.is_tensor(determinants) else type(determinants).__name__
        raise InvalidInputError(f"determinants: expected a floating tensor of shape {tuple(members.shape)} like members, found {found}")
    values = determinants.detach().to(device="cpu", dtype=torch.float64)
    bad = members & ~torch.isfinite(values)
    if bool(bad.any()):
        sample, chart = bad.nonzero()[0].tolist()
        raise InvalidInputError(
            f"determinants: {int(bad.sum())} are not finite inside their chart (first: sample {sample}, chart {chart}); take them out of members"
        )
    return values


def _cores(members: Tensor, values: Tensor, near: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Membership (n, K) in the cores of the charts, and the charts that lost samples to a fold."""
    cores, folded = torch.zeros_like(members), []
    place = torch.zeros(len(members), dtype=torch.int64)
    for k in range(members.shape[1]):
        rows = members[:, k].nonzero()[:, 0]
        place[rows] = torch.arange(len(rows))
        size = values[rows, k].abs()
        inner = torch.where(members[near[rows], k], place[near[rows]], torch.arange(len(rows)).unsqueeze(1))
        safe = size > (size[inner] - size.unsqueeze(1)).abs().max()
        if not bool(safe.all()):
            folded.append(k)
        cores[rows[_largest(inner, safe)], k] = True
    return cores, tuple(folded)


def _largest(neighbours: Tensor, safe: Tensor) -> Tensor:
    """Mask (m,) of the largest connected piece of the `safe` samples of a neighbour graph."""
    edges = links(neighbours)
    _, label = components(len(safe), edges[safe[edges[:, 0]] & safe[edges[:, 1]]])
    return safe & (label == torch.bincount(label[safe], minlength=1).argmax())


def _overlaps(cores: Tensor, values: Tensor, edges: Tensor) -> tuple[ChartOverlap, ...]:
    """The connected parts of the overlaps of two cores, with their signs."""
    found = cells(cores, edges)
    joined = parts(found, 2)
    if not len(joined.key):
        return ()
    row, key = subsets(cores, 2)
    label = joined.at(key, found.of[row], len(found.patterns))
    pair = decode(key, 2, cores.shape[1])
    both = values[row.unsqueeze(1), pair]
    count = int(label.max()) + 1
    keeping = torch.bincount(label[both.prod(1) > 0], minlength=count)
    samples = torch.bincount(label, minlength=count)
    margin = torch.full((count,), torch.inf, dtype=torch.float64).scatter_reduce_(0, label, both.abs().amin(1), "amin")
    charts = torch.zeros(count, 2, dtype=torch.int64).index_copy_(0, label, pair)
    sign = (keeping == samples).long() - (keeping == 0).long()
    return tuple(ChartOverlap(*row) for row in zip(*charts.T.tolist(), sign.tolist(), samples.tolist(), margin.tolist(), strict=True))


def _pieces(cores: Tensor, overlaps: tuple[ChartOverlap, ...], edges: Tensor, doubtful: Tensor) -> list[tuple[tuple[int, ...], tuple[int, ...], bool | None]]:
    """For each connected piece of M its charts, a shortest odd cycle of overlaps of certain sign (or none), and whether it is orientable."""
    _, of = components(len(cores), edges)
    home = of[cores.to(torch.uint8).argmax(0)]
    pieces = []
    for piece in torch.unique(of).tolist():
        charts = ((home == piece) & cores.any(0)).nonzero()[:, 0].tolist()
        inside = [overlap for overlap in overlaps if overlap.a in charts]
        cycle = odd_cycle([(overlap.a, overlap.b, overlap.sign) for overlap in inside if overlap.sign])
        doubt = bool(doubtful[of == piece].any()) or any(overlap.sign == 0 for overlap in inside)
        pieces.append((tuple(charts), cycle, False if cycle else None if doubt else True))
    return pieces
