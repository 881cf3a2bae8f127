"""The nerve of a cover by charts and its homology, with the evidence that it is the homology of M.

The nerve has a simplex for every set s of charts with a common sample. H_j(nerve) = H_j(M) for j <= d if every intersection U_s of t charts has
no reduced homology in the degrees 0 to d - t + 1 (a good cover has none at all). So charts and pairs must be connected without holes,
and for surfaces triples connected. Where that fails the Euler characteristic is still that of the intersections,

    chi(M) = sum over s of (-1)^(t - 1) chi(U_s).

Bjoerner (2003), Nerves, fibers and homotopy groups; Meshulam (2001), The clique complex and hypergraph matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.topology.covers.cells import check_members, decode, distinct_memberships, graph, loose, seams, subsets
from topogen.topology.covers.intersections import SEEN_DIMENSIONS, Coordinates, Layer, folded_charts, intersections

__all__ = ["Nerve", "Offending", "nerve"]


class Offending(NamedTuple):
    """An intersection that is not contractible: its `charts` and the Betti numbers found, -1 where not looked at."""

    charts: tuple[int, ...]
    betti: tuple[int, ...]


@dataclass(frozen=True)
class Nerve:
    """Homology of the nerve of a cover, and whether it may be taken for that of M.

    `betti[p]`: Betti numbers of degree 0 to d over Z/p; `simplices`: their number by dimension up to d + 1; `good`: every intersection was looked at
    and is contractible as far as the nerve theorem needs, charts are one-to-one, and neighbouring samples share a chart (None: not all looked at, see
    `notes`); `bad`: the intersections that are not; `folded`: charts that are not one-to-one; `seams`: samples in no one chart with their near
    neighbours; `thinnest`: samples in the thinnest overlap of two charts (0 without overlaps); `euler`: Euler characteristic by `euler_from`, "the nerve"
    or, where the cover is not good, "inclusion-exclusion" over the intersections (None where these cannot be judged).
    """

    betti: dict[int, tuple[int, ...]]
    simplices: tuple[int, ...]
    charts: int
    samples: int
    thinnest: int
    euler: int | None
    euler_from: str = "the nerve"
    good: bool | None = None
    bad: tuple[Offending, ...] = ()
    folded: tuple[int, ...] = ()
    seams: int = 0
    notes: tuple[str, ...] = ()

    def to_text(self) -> str:
        """A few lines for people: is the cover good, the numbers, what they rest on."""
        verdict = {True: "good cover", False: "NOT a good cover", None: "cover not judged"}[self.good]
        lines = [f"nerve of {self.charts} charts on {self.samples} samples: {verdict}, {' + '.join(map(str, self.simplices))} simplices"]
        lines += [f"Z/{p}: Betti {b}{'' if self.good else ' of the nerve only'}" for p, b in self.betti.items()]
        lines.append(
            f"Euler characteristic {'undecided' if self.euler is None else self.euler} from {self.euler_from}; thinnest overlap {self.thinnest} samples"
        )
        lines += [f"charts {', '.join(map(str, s.charts))} meet in a set with Betti numbers {s.betti} (-1: not looked at)" for s in self.bad[:5]]
        lines += [f"and {len(self.bad) - 5} more such intersections"] if len(self.bad) > 5 else []
        lines += [f"{len(self.folded)} charts are not one-to-one: {', '.join(map(str, self.folded[:10]))}; use more and smaller charts"] if self.folded else []
        lines += [f"{self.seams} samples share no chart with their near neighbours: the charts overlap too little for this sample"] if self.seams else []
        return "\n".join([*lines, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        listed = {name: list(getattr(self, name)) for name in ("simplices", "folded", "notes")}
        bad = [{"charts": list(s.charts), "betti": list(s.betti)} for s in self.bad]
        return asdict(self) | listed | {"betti": {str(p): list(b) for p, b in self.betti.items()}, "bad": bad}


def nerve(
    members: Tensor,
    dim: int,
    fields: Sequence[int] = (2, 3),
    *,
    points: Tensor | None = None,
    coordinates: Coordinates | None = None,
) -> Nerve:
    """Nerve of K charts of a d-manifold M, its Betti numbers over the prime fields, and whether the cover is good.

    `members` (n, K) bool: which charts each of n dense samples of M lies in. With the samples `points` (n, D) every intersection is looked at;
    holes in them (d = 2, 3) need `coordinates(k, rows)`, R^d coordinates (m, d) of samples in chart k. Deterministic.
    Raises InvalidInputError for unusable arguments, a sample in no chart or a chart without samples; BudgetExceeded for too many intersections.
    """
    members = check_members(members, dim)
    _check_fields(fields)
    patterns = distinct_memberships(members)[0]
    simplices = [torch.unique(subsets(patterns, size)[1]) for size in range(1, dim + 3)]
    betti = _betti(simplices, members.shape[1], dim, fields)
    euler = sum((-1) ** j * b for j, b in enumerate(betti[fields[0]]))
    found = Nerve(betti, tuple(map(len, simplices)), members.shape[1], len(members), _thinnest(members), euler, notes=(_UNSEEN,))
    return found if points is None else _judged(found, points, members, dim, coordinates)


def _judged(found: Nerve, points: Tensor, members: Tensor, dim: int, coordinates: Coordinates | None) -> Nerve:
    """The nerve with the evidence whether its cover is good."""
    near = graph(points, members, dim)
    seen = coordinates if dim in SEEN_DIMENSIONS else None
    layers = intersections(points, members, dim, seen, neighbours=near)
    bad = tuple(offending for layer in layers for offending in _offending(layer))
    folded = () if coordinates is None else folded_charts(points, members, dim, coordinates, near)
    torn = int((seams(members, near) | loose(members, near, dim)).sum())
    blind = dim > 1 and seen is None
    notes = (_BLIND.format(dim=dim),) if blind else ()
    good = False if bad or folded or torn else None if blind else True
    judged = replace(found, good=good, bad=bad, folded=folded, seams=torn, notes=notes)
    if good is not False:
        return judged
    euler = None if blind or folded or torn else _inclusion_exclusion(points, members, dim, seen, near)
    return replace(judged, euler=euler, euler_from="inclusion-exclusion")


_UNSEEN = "intersections were not looked at; pass points= and coordinates="
_BLIND = "holes of intersections were not looked at (dimension {dim}); for surfaces and 3-manifolds pass coordinates="


def _check_fields(fields: Sequence[int]) -> None:
    if not fields:
        raise InvalidInputError("fields: expected at least one prime, found none; the default is (2, 3)")
    for p in fields:
        if isinstance(p, bool) or not isinstance(p, int) or p < 2 or any(p % q == 0 for q in range(2, int(p**0.5) + 1)):
            raise InvalidInputError(f"fields: Z/p needs a prime p, found {p!r}")


def _betti(simplices: list[Tensor], charts: int, dim: int, fields: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Betti numbers of degree 0 to d by field of the complex with these simplices, by size; its part of dimension d + 1 settles them."""
    from gudhi import SimplexTree

    tree: Any = SimplexTree()
    for size, keys in enumerate(simplices, 1):
        if len(keys):
            tree.insert_batch(decode(keys, size, charts).T.contiguous().numpy(), torch.zeros(len(keys), dtype=torch.float64).numpy())
    found = {}
    for p in fields:
        tree.compute_persistence(homology_coeff_field=p, min_persistence=0, persistence_dim_max=True)
        found[p] = tuple((list(map(int, tree.betti_numbers())) + [0] * dim)[: dim + 1])
    return found


def _thinnest(members: Tensor) -> int:
    pairs = subsets(members, 2)[1]
    return int(torch.unique(pairs, return_counts=True)[1].min()) if len(pairs) else 0


def _offending(layer: Layer) -> list[Offending]:
    """The intersections with a Betti number that a point does not have."""
    wrong = (layer.betti[:, 0] != 1) | (layer.betti[:, 1:] > 0).any(1)
    rows = wrong.nonzero()[:, 0].tolist()
    return [Offending(tuple(layer.charts[row].tolist()), tuple(layer.betti[row].tolist())) for row in rows]


def _inclusion_exclusion(points: Tensor, members: Tensor, dim: int, coordinates: Coordinates | None, near: Tensor) -> int | None:
    """sum (-1)^(t - 1) chi(U_s) over all intersections, None where they cannot all be looked at."""
    try:
        layers = intersections(points, members, dim, coordinates, sizes=members.shape[1], everything=True, neighbours=near)
    except BudgetExceeded:
        return None
    signs = torch.tensor([(-1) ** j for j in range(dim)])
    return sum((-1) ** size * int((layer.betti @ signs).sum()) for size, layer in enumerate(layers))
