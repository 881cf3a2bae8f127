"""What a cloud is, before anything is learned from it: dimension, pieces, homology, boundary, noise, spacing, reach; and what follows from them.

The order of the questions: repairs -> affine hull at the noise level -> dimension -> scales -> boundary -> singular strata -> homology -> components.
Everything after the hull is measured in the hull's coordinates, in units of the data. Orientability is read off homology: a closed d-manifold with
c components has top Betti number c over Z/2 always, over Z/3 exactly when every component is orientable (Hatcher 2002, Algebraic Topology, theorem 3.26).

Up to 20,000 distinct points (`LOCAL_ROWS`) every point is looked at in every respect. Of more, so many drawn at random stand for all where a statistic is
local: dimension, noise, spacing and reach are asked at them with all points for neighbours, boundary and singular strata are looked for in the cloud
of them alone. Duplicates, components, evenness and outliers are always those of all points, so that the whole grows like n log n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.dimension import AffineHull, DimensionEstimate, affine_hull, estimate_dimension
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.point_clouds import LOCAL_ROWS, check_scale, random_rows
from topogen.geometry.clouds.sampling_density import LONELY, UNEVEN, sampling_density
from topogen.geometry.clouds.scales import PLANE_NEIGHBOURS, Scales, boundary_points, estimate_scales
from topogen.geometry.clouds.strays import graph_neighbours, pieces, stray_rows
from topogen.points import as_points, clean
from topogen.points.cleaning import Repairs
from topogen.topology.inference.homology import Homology, homology
from topogen.topology.persistence.budget import Budget
from topogen.topology.strata.strata import Stratum, find_strata

__all__ = ["Inspection", "inspect", "without_strays"]

NOISY = 0.17
BOUNDARY_SHARE, MIXED_BOUNDARY_SHARE = 1e-3, 1e-2
ENOUGH_ROOM = 0.95


@dataclass(frozen=True)
class Inspection:
    """What was found in a cloud; lengths in units of the data.

    `n`: distinct points; `ambient_dim`: D; `duplicates`: copies left out; `constant_columns`: their indices; `hull_dim`: dimension of the affine
    hull at the noise level; `dim`: the dimension used, given or estimated; `dimension`: both estimators; `components` and `components_reason`;
    `betti`: per field the Betti numbers or None where undecided; `homology`: how they were decided; `orientable`: None where homology does not tell;
    `boundary_fraction`, `has_boundary`; `noise`: standard deviation per normal coordinate; `spacing`, `reach`, `diameter`: as in `Scales`;
    `room`: share of the points with a scale of denoising above spacing and noise and below reach/sqrt(hull_dim - dim);
    `evenness`: largest over median distance to the fifth neighbour (1: perfectly even); `outliers`: points far from all others for their region;
    `advice`: what the numbers mean for fitting, in words; `topology.strata.strata`: the pieces of the singular set, where sheets cross and the cloud is no
    manifold; `strays`: rows of the points as given, counted from 0, that lie far from all others and were left out.
    """

    n: int
    ambient_dim: int
    duplicates: int
    constant_columns: tuple[int, ...]
    hull_dim: int
    dim: int
    dimension: DimensionEstimate
    components: int
    components_reason: str
    betti: Mapping[int, tuple[int, ...] | None]
    homology: Homology
    orientable: bool | None
    boundary_fraction: float
    has_boundary: bool
    noise: float
    spacing: float
    reach: float
    diameter: float
    room: float
    evenness: float
    outliers: int
    advice: tuple[str, ...]
    strata: tuple[Stratum, ...] = ()
    strays: tuple[int, ...] = ()

    def to_text(self) -> str:
        """The findings for people, one per line, the advice below."""
        rows = [f"{name:<12}{value}" for name, value in _rows(self)]
        return "\n".join([*rows, *(f"- {line}" for line in self.advice)])

    def to_dict(self) -> dict[str, Any]:
        """The findings as plain numbers, strings, lists and dictionaries that JSON takes; what is not finite becomes None."""
        estimate = self.dimension
        return {
            **{name: _plain(getattr(self, name)) for name in _PLAIN_FIELDS},
            "dimension": {name: _plain(value) for name, value in vars(estimate).items()},
            "betti": _plain(self.betti),
            "homology": self.homology.to_dict(),
            "strata": [stratum.to_dict() for stratum in self.strata],
            "advice": list(self.advice),
        }


_PLAIN_FIELDS = (
    "n", "ambient_dim", "duplicates", "constant_columns", "hull_dim", "dim", "components", "components_reason", "orientable", "boundary_fraction",
    "has_boundary", "noise", "spacing", "reach", "diameter", "room", "evenness", "outliers", "strays",
)  # fmt: skip


def inspect(
    points: Any,
    *,
    dim: int | None = None,
    fields: Sequence[int] = (2, 3),
    generator: torch.Generator | None = None,
    seed: int = 0,
    budget: Budget | None = None,
) -> Inspection:
    """Find out what a cloud (n, D) is.

    `points` is anything `topogen.points.as_points` takes; `dim` overrules the estimated dimension; `fields` are the primes p of the Betti numbers
    over Z/p; `seed` makes the generator where none is given; `budget` goes to `topogen.topology.inference.homology.homology`.
    Raises InvalidInputError for points that cannot be a cloud, fewer than dim + 2 distinct ones, or a dim outside 1..D.
    """
    generator = torch.Generator().manual_seed(seed) if generator is None else generator
    cloud, repairs = clean(points)
    check_scale(cloud)
    cloud, strays = without_strays(cloud, points)
    _check(len(cloud), cloud.shape[1], dim)
    form = _form(cloud, dim, generator)
    topology = homology(form.inside, dim=form.dim, fields=tuple(fields), closed=form.closed, budget=budget, generator=generator)
    bare = replace(_findings(cloud, form, topology, repairs), strays=strays)
    return replace(bare, advice=tuple(line for rule in _RULES for line in rule(bare)))


def without_strays(cloud: Tensor, points: Any) -> tuple[Tensor, tuple[int, ...]]:
    """The distinct points (n, D) without stray ones, and the rows of the points as given that these are."""
    rows = stray_rows(cloud)
    if not len(rows):
        return cloud, ()
    given = as_points(points)
    named = (given.unsqueeze(1) == cloud[rows].unsqueeze(0)).all(2).any(1).nonzero().squeeze(1)
    kept = torch.ones(len(cloud), dtype=torch.bool)
    kept[rows] = False
    return cloud[kept], tuple(named.tolist())


@dataclass(frozen=True)
class _Form:
    """What geometry says of a cloud: `hull` and coordinates `inside` it, dimension, scales, mask of boundary points, singular strata in the hull.

    `boundary` is about the points that were looked at: all, or `LOCAL_ROWS` of them.
    `closed`: None where several local dimensions are present, which have boundary points of their own.
    """

    hull: AffineHull
    inside: Tensor
    dimension: DimensionEstimate
    dim: int
    scales: Scales
    boundary: Tensor
    has_boundary: bool
    closed: bool | None
    strata: tuple[Stratum, ...]


def _form(cloud: Tensor, dim: int | None, generator: torch.Generator) -> _Form:
    n, ambient = cloud.shape
    hull = affine_hull(cloud)
    inside = hull.coordinates(cloud) if dim is None or dim <= hull.dim else cloud
    dimension = estimate_dimension(cloud, hull=hull, generator=generator)
    chosen = dimension.dim if dim is None else dim
    _check(n, ambient, chosen)
    scales = estimate_scales(inside, chosen, generator=generator)
    some = inside if n <= LOCAL_ROWS else inside[random_rows(n, LOCAL_ROWS, generator).to(inside.device)]
    # planes as wide as those of k neighbours in the whole cloud
    boundary = boundary_points(some, chosen, k=scales.k if len(some) == n else max(PLANE_NEIGHBOURS, scales.k * len(some) // n))
    mixed = len(dimension.mixed) > 1
    has_boundary = int(boundary.sum()) > max(1.0, (MIXED_BOUNDARY_SHARE if mixed else BOUNDARY_SHARE) * len(some))
    strata = tuple(replace(stratum, points=cloud[stratum.rows]) for stratum in _spread(find_strata(some, chosen), some, inside))
    return _Form(hull, inside, dimension, chosen, scales, boundary, has_boundary, None if mixed or strata else not has_boundary, strata)


def _spread(strata: tuple[Stratum, ...], some: Tensor, points: Tensor) -> Iterator[Stratum]:
    """Strata of `some` of the points with the rows of all points to which the nearest of some is theirs."""
    if not strata or len(some) == len(points):
        yield from strata
        return
    near = nearest(some, 1, points)[1][:, 0]
    for stratum in strata:
        mine = torch.zeros(len(some), dtype=torch.bool, device=points.device)
        mine[stratum.rows] = True
        yield replace(stratum, rows=mine[near].nonzero().squeeze(1))


def _findings(cloud: Tensor, form: _Form, topology: Homology, repairs: Repairs) -> Inspection:
    """Everything but the advice."""
    pieces, reason = _components(form.inside, form.scales)
    even = sampling_density(form.inside)
    return Inspection(
        n=len(cloud),
        ambient_dim=cloud.shape[1],
        duplicates=repairs.duplicates,
        constant_columns=tuple(repairs.constant_columns),
        hull_dim=form.hull.dim,
        dim=form.dim,
        dimension=form.dimension,
        components=pieces,
        components_reason=reason,
        betti=dict(topology.betti),
        homology=topology,
        orientable=_orientable(topology.decided, form.dim) if form.closed else None,
        boundary_fraction=float(form.boundary.double().mean()),
        has_boundary=form.has_boundary,
        noise=_noise(form.scales, form.hull, form.inside),
        spacing=form.scales.spacing,
        reach=form.scales.reach,
        diameter=form.scales.diameter,
        room=_room(form.scales, form.inside.shape[1]),
        evenness=even.ratio,
        outliers=even.outliers,
        advice=(),
        strata=form.strata,
    )


def _check(n: int, ambient: int, dim: int | None) -> None:
    if dim is not None and not 1 <= dim <= ambient:
        raise InvalidInputError(f"dim: expected 1 to {ambient} for points in R^{ambient}, found {dim}; leave it out to have it estimated")
    needed = (dim or 1) + 2
    if n < needed:
        raise InvalidInputError(f"points: found {n} distinct points, a manifold of dimension {dim or 1} needs at least {needed}; give more points")


def _noise(scales: Scales, hull: AffineHull, inside: Tensor) -> float:
    """Within the hull where it has normal directions, else from the directions dropped."""
    return scales.noise if hull.dim > scales.dim and inside.shape[1] > scales.dim else hull.noise


def _room(scales: Scales, ambient: int) -> float:
    low = scales.spacing_per_point.clamp_min(scales.noise)
    return float((low < scales.reach_per_point / math.sqrt(max(ambient - scales.dim, 1))).double().mean())


def _components(points: Tensor, scales: Scales) -> tuple[int, str]:
    """Components of the graph that joins every point to its nearest fifteen, and the gap between them."""
    k = graph_neighbours(len(points))
    rows = pieces(points)
    number = len(rows)
    how = f"graph of the {k} nearest neighbours"
    if number == 1:
        return 1, f"{how} is connected"
    sizes = list(map(len, rows))
    # the largest of them need not ask where all others do: a distance is the same from both sides
    gap = min(_separation(points, some) for some in (rows[:20] if number > 20 else rows[1:]))
    return number, f"{how}: pieces of {', '.join(map(str, sizes[:10]))} points, {gap:.3g} apart at the closest ({gap / scales.spacing:.1f} spacings)"


def _separation(points: Tensor, piece: Tensor) -> float:
    rest = torch.ones(len(points), dtype=torch.bool, device=points.device)
    rest[piece] = False
    return float(nearest(points[rest], 1, points[piece])[0].min())


def _orientable(decided: Mapping[int, Sequence[int | None]], dim: int) -> bool | None:
    """Over Z/2 the top Betti number of a closed manifold counts its components; over Z/3 the orientable ones."""
    mod2, mod3 = decided.get(2, ()), decided.get(3, ())
    if min(len(mod2), len(mod3)) <= dim or None in (mod2[0], mod2[dim], mod3[dim]) or mod2[dim] != mod2[0]:
        return None
    return mod3[dim] == mod2[0]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _rows(found: Inspection) -> Iterator[tuple[str, str]]:
    estimate = found.dimension
    yield "points", f"{found.n} distinct in R^{found.ambient_dim}" + (f", {found.duplicates} duplicates left out" if found.duplicates else "")
    yield "hull", f"affine hull of dimension {found.hull_dim}"
    yield "dimension", f"{found.dim} (local PCA {estimate.local_pca} from {estimate.k} neighbours, TwoNN {estimate.two_nn:.2f})"
    yield "components", f"{found.components}: {found.components_reason}"
    for field, numbers in found.homology.decided.items():
        yield f"Betti Z/{field}", f"({', '.join('?' if b is None else str(b) for b in numbers)})"
    yield "homology", f"{found.homology.label}: {found.homology.rule}"
    yield "orientable", {True: "yes", False: "no", None: "not decided"}[found.orientable]
    yield "boundary", f"yes, {found.boundary_fraction:.1%} of the points" if found.has_boundary else "none found"
    if found.strata:
        yield "singular", "; ".join(stratum.to_text() for stratum in found.strata[:4])
    yield "noise", f"{found.noise:.4g} per normal coordinate"
    yield "spacing", f"{found.spacing:.4g}"
    yield "reach", f"{found.reach:.4g}"
    yield "diameter", f"{found.diameter:.4g}"
    yield "room", f"a scale of denoising fits at {found.room:.0%} of the points"
    yield "evenness", f"{found.evenness:.1f} (largest over median distance to the fifth neighbour), {found.outliers} outliers"


def _on_repairs(found: Inspection) -> Iterator[str]:
    if found.duplicates:
        yield f"{found.duplicates} exact duplicates were left out: they carry no topology, but weigh on a density; keep them for that if they are real"
    if found.constant_columns:
        yield f"columns {', '.join(map(str, found.constant_columns))} are constant: drop them unless the ambient space matters"


def _on_strays(found: Inspection) -> Iterator[str]:
    if found.strays:
        named = ", ".join(map(str, found.strays[:10]))
        yield f"stray: row {named}, counted from 0, far from all others, left out; what is said above is said of the rest"


def _on_dimension(found: Inspection) -> Iterator[str]:
    estimate = found.dimension
    if found.hull_dim < found.ambient_dim:
        yield f"{found.ambient_dim - found.hull_dim} of {found.ambient_dim} linear directions carry only noise: learn in the {found.hull_dim} others"
    if len(estimate.mixed) > 1:
        shares = ", ".join(f"{d}: {estimate.histogram[d]:.0%}" for d in estimate.mixed)
        yield f"several local dimensions are present ({shares}): dim is then a number per piece; expect local_dim to vary"
    elif found.dim != estimate.dim:
        yield f"dim={found.dim} was given, the data say {estimate.dim}"
    elif math.isfinite(estimate.two_nn) and not estimate.agreement:
        why = "noise wider than the spacing does that; local PCA looks beyond it" if estimate.two_nn > found.dim else "uneven density or rounding does that"
        yield f"TwoNN says {estimate.two_nn:.1f} where local PCA says {found.dim}: {why}; pass dim= if you know it"
    if found.dim == found.hull_dim:
        yield f"the cloud fills its {found.hull_dim}-dimensional affine hull: there is no lower-dimensional manifold to learn in it"


def _on_scales(found: Inspection) -> Iterator[str]:
    codimension = found.hull_dim - found.dim
    if codimension < 1 or not math.isfinite(found.reach):
        return
    if found.room < ENOUGH_ROOM:
        high = found.reach / math.sqrt(codimension)
        yield (
            f"at {1 - found.room:.0%} of the points no scale of denoising fits between spacing or noise ({found.spacing:.3g}, {found.noise:.3g}) and "
            f"reach/sqrt(codimension) ({high:.3g} at the tightest twentieth): a constraint will not be trusted there; take more points, add noise only "
            "inside the local-PCA span, or learn a representation of fewer dimensions first"
        )
    elif found.noise > NOISY * found.reach:
        yield f"noise is {found.noise / found.reach:.0%} of the reach (above {NOISY:.0%} homology of the raw cloud fails): verify on projected points"


def _on_shape(found: Inspection) -> Iterator[str]:
    if found.has_boundary:
        yield f"the cloud has a boundary ({found.boundary_fraction:.1%} of the points lie on it): the zero set needs a gate"
    if found.strata:
        share = sum(stratum.size for stratum in found.strata) / found.n
        yield (
            f"sheets of dimension {found.dim} cross or branch near {share:.1%} of the points: the set is no manifold there, and a learned constraint loses"
            " rank; topogen.verification.verify_sheets takes it apart"
        )
    if found.orientable is False:
        yield "the manifold is not orientable: it needs an overcomplete constraint (more outputs than codimensions), and no global normal field exists"
    if found.components > 1:
        yield f"{found.components} components: each keeps its own weight, no walk or flow passes between them"


def _on_homology(found: Inspection) -> Iterator[str]:
    undecided = [field for field, numbers in found.betti.items() if numbers is None]
    if undecided:
        yield f"homology over {', '.join(f'Z/{p}' for p in undecided)} is undecided from these points: a learned manifold gives as many as it takes"
    counts = {numbers[0] for numbers in found.betti.values() if numbers}
    if counts and counts != {found.components}:
        yield f"the neighbour graph has {found.components} components and homology counts {', '.join(map(str, sorted(counts)))}: pieces are close"


def _on_density(found: Inspection) -> Iterator[str]:
    if found.outliers:
        yield f"{found.outliers} points lie {LONELY:.0f} times farther from their neighbours than those from theirs: one outlier can fake a component"
    if found.evenness > UNEVEN:
        yield f"uneven density (largest over median fifth-neighbour distance {found.evenness:.1f}): homology needs the sparsest part to be dense enough"


_RULES: tuple[Callable[[Inspection], Iterator[str]], ...] = (_on_repairs, _on_strays, _on_dimension, _on_scales, _on_shape, _on_homology, _on_density)
