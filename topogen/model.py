"""`Model`: a manifold, a distribution on it and the inspection of the data behind both; `fit`, `save`, `load`.

    points -> clean -> inspect -> constraint learned by denoising -> ImplicitManifold (gated where the data end) -> distribution on it

`fit` takes every decision from the inspection and says which and why in `Model.notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from topogen.distributions.base import Density, DensityRequest
from topogen.distributions.density_choice import choose_density
from topogen.distributions.density_table import DENSITIES
from topogen.distributions.energy.energy import Energy
from topogen.distributions.score_comparison import ScoreComparison, compare_scores
from topogen.distributions.thickened import same_measure
from topogen.entry_tables import Table
from topogen.errors import CheckpointError, InvalidInputError, NotSupportedError
from topogen.geometry.clouds.dimension import affine_hull
from topogen.geometry.clouds.point_clouds import check_scale, even_rows
from topogen.geometry.clouds.reach import reach_from
from topogen.inspection import Inspection, inspect, without_strays
from topogen.learning.base import FittedManifold, ManifoldKind, ManifoldRequest
from topogen.learning.manifold_table import MANIFOLDS
from topogen.manifolds.base import Manifold, Projection
from topogen.manifolds.in_subspace import InSubspace
from topogen.points import as_points, clean, distinct
from topogen.saving import part, read_folder, write_folder
from topogen.training.trainer import Settings

__all__ = ["Model", "compare_models", "fit", "load"]

# What "auto" stands for.
DEFAULT_MANIFOLD, DEFAULT_DENSITY = "implicit", "uniform"
CONSTRAINTS = ("auto", "local", "neural")
_ANCHORS = 20_000
_REACH_ANCHORS = 4000
# Above so many coordinates a cloud is learned in those of its affine hull; below, the linear directions beyond it cost little.
_WIDE = 20


@dataclass(frozen=True)
class Model:
    """A fitted manifold M in R^D with a distribution on it.

    `manifold`: a `Manifold`; `distribution`: a `torch.distributions.Distribution` with respect to the volume measure of M; `anchors` (n, D) float64: data
    projected onto M, the known points that samplers start from; `inspection`: what was found in the data, as plain values; `notes`: what was chosen and why;
    `training`: how the manifold was learned (`Fitted.summary`), empty for a given one; its seconds belong to the run and are not saved.
    A saved model holds the anchors, hence denoised copies of up to 20,000 data points.
    """

    manifold: Manifold
    distribution: torch.distributions.Distribution
    anchors: Tensor
    inspection: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> Tensor:
        """Points of M that are known, the anchors (n, D)."""
        return self.anchors

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n points (n, D) float64 of M drawn from the distribution."""
        drawn: Tensor = self.distribution.sample((n,), generator=generator)  # type: ignore[call-arg]
        return drawn

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density (...) at the projection of x (..., D) onto M, with respect to the d-dimensional volume (Hausdorff) measure of M, in data units.

        -inf where x has no projection, and where it is `beyond_reach`, so that its closest point is one of many or says little of x.
        """
        density: Tensor = self.distribution.log_prob(x)
        return torch.where(self.beyond_reach(x), -torch.inf, density)

    @torch.no_grad()
    def beyond_reach(self, x: Tensor) -> Tensor:
        """Mask (...) of the points x (..., D) as far from M as the reach at their closest point z (Federer 1959), or farther.

        The reach at z, inf over the anchors a of |a - z|^2 / (2 dist(a - z, T_zM)), is the radius of the largest ball that touches M in z and holds no
        anchor: at least that far from z another point of M may be as near.
        """
        flat = x.detach().double().reshape(-1, x.shape[-1])
        found = self.manifold.project(flat)
        on, beyond = found.converged, torch.zeros(len(flat), dtype=torch.bool)
        if self.anchors.shape[0] > 1 and bool(on.any()):
            foot = found.points[on]
            others = self.anchors[even_rows(len(self.anchors), _REACH_ANCHORS)]
            beyond[on] = (flat[on] - foot).norm(dim=1) >= reach_from(foot, self.manifold.tangent_basis(foot), others)
        return beyond.reshape(x.shape[:-1])

    def compare(self, other: Model, points: Any, *, names: tuple[str, str] = ("this", "other")) -> ScoreComparison:
        """Held-out log densities of this model and another at points (n, D), and their paired difference with its standard error.

        Raises InvalidInputError where the densities are against different measures, as those on manifolds of different dimension are.
        """
        return compare_models(dict(zip(names, (self, other), strict=True)), points)

    def tilt(self, energy: Callable[[Tensor], Tensor]) -> Model:
        """The model with density proportional to its own times exp(-energy); `energy` maps rows (n, D) float64 on M to (n,)."""
        tilted = Energy(self.manifold, energy, proposal=self.distribution, tilt=True, points=self.anchors, seed=0)
        return replace(self, distribution=tilted, notes=(*self.notes, "density: tilted by a user's energy"))

    def project(self, x: Tensor) -> Projection:
        """Projection of x (..., D) onto M, per sample; see `Manifold.project`."""
        return self.manifold.project(x)

    def save(self, folder: str | Path) -> None:
        """Save to a folder (JSON and safetensors, replaced atomically); raises CheckpointError where the folder holds something else,
        NotSupportedError for kinds without registration."""
        kind, density = _entry(MANIFOLDS, self.manifold), _entry(DENSITIES, self.distribution)
        parts = {"manifold": (kind.name, *kind.describe(self.manifold)), "distribution": (density.name, *density.describe(self.distribution, self.manifold))}
        document = {which: {"kind": name, "config": dict(config)} for which, (name, config, _) in parts.items()}
        tensors = {f"{which}.{key}": value for which, (_, _, own) in parts.items() for key, value in own.items()}
        training = {name: value for name, value in self.training.items() if name != "seconds"}
        extra = {"inspection": dict(self.inspection), "notes": list(self.notes), "training": training}
        write_folder(Path(folder), {**document, **extra}, {**tensors, "anchors": self.anchors})


def compare_models(models: Mapping[str, Model], points: Any) -> ScoreComparison:
    """Log densities of two or more models at the same held-out points (n, D), compared in pairs (`distributions.score_comparison`).

    Raises InvalidInputError where the densities are against different measures, as those on manifolds of different dimension are, for points of another
    dimension, and where fewer than two points have a density under all of them.
    """
    same_measure(*(model.distribution for model in models.values()))
    cloud = as_points(points)
    for name, model in models.items():
        if cloud.shape[1] != model.manifold.ambient_dim:
            raise InvalidInputError(f"points: {name} lies in R^{model.manifold.ambient_dim}, the points in R^{cloud.shape[1]}")
    return compare_scores({name: model.log_prob(cloud) for name, model in models.items()})


def load(folder: str | Path) -> Model:
    """The model saved in a folder; raises CheckpointError where it is missing, torn, altered, of another schema or of an unregistered kind."""
    document, tensors = read_folder(Path(folder))
    anchors = tensors.get("anchors", torch.empty(0, 0, dtype=torch.float64))
    manifold = _build("manifold", document, tensors, MANIFOLDS)
    distribution = _build("distribution", document, tensors, DENSITIES, manifold, anchors)
    inspection, notes, training = document.get("inspection", {}), document.get("notes", []), document.get("training", {})
    if not isinstance(inspection, dict) or not isinstance(notes, list) or not isinstance(training, dict):
        raise CheckpointError("model.json: inspection or training is not an object or notes are not a list; the file was altered")
    return Model(manifold, distribution, anchors, inspection, tuple(notes), training)


def fit(
    points: Any,
    manifold: str | Manifold = "auto",
    density: str = "auto",
    dim: int | None = None,
    seed: int = 0,
    *,
    settings: Settings | None = None,
    inspection: Inspection | None = None,
    generator: torch.Generator | None = None,
    checkpoint: str | Path | None = None,
    closed: bool = False,
    context: Tensor | None = None,
    density_settings: Settings | None = None,
    constraint: str = "auto",
    budget_seconds: float | None = None,
    quiet: bool = False,
) -> Model:
    """Fit a model to a cloud (n, D).

    Args:
        points: anything `topogen.points.as_points` takes; brought to the CPU, where everything runs.
        manifold: "implicit" learns a constraint; "atlas" covers its zero set by charts as well (dimensions 1 to 3); "auto" is "implicit", which needs less time
            and has the same points; a `Manifold` is taken as given.
        density: "uniform"; "energy" learns where on M the data lie (`distributions.energy.fit`); "charts" learns that as a mixture over many small charts,
            exactly normalised and sampled (`distributions.charts.fit`), in dimensions 1 to 3; "diffusion" and "flow" learn it as what a field on M carries
            the uniform distribution to (`distributions.diffusion.fit`, `distributions.flow.fit`); "flows" learns it as a mixture of injective flows over
            few large charts (`distributions.charts.fit_flows`), in dimensions 1 to 3; "auto" is uniform where a test at 95 % does not tell the data from
            uniform ones, else the simplest that held-out data cannot tell from the best, of those that `budget_seconds` allows to try
            (`distributions.density_choice`). Both names are looked up in tables, to which installed packages add (`topogen.densities`, `topogen.manifolds`).
        dim: dimension of M, estimated when None.
        seed: seeds the generator when none is given; same machine, versions, threads and seed: same bits.
        settings: steps, batch, rate of the training; inspection: an `Inspection` of the same points made before.
        checkpoint: file a training run resumes from and keeps rewriting; the training of a diffusion or flow adds ".density" to its name.
        closed: M has no boundary, whatever the data look like; they are gaps then (floods on land, M the sphere), and no gate is set.
        context: integer labels (n,) or vectors (n, c), one per point, that a diffusion or flow is to depend on.
        density_settings: steps, batch, rate of the training of a diffusion or flow.
        constraint: "local": local polynomials, nothing trained; "neural": a network trained by denoising, which is better where the noise is about 1 % of
            the diameter; "auto" takes local polynomials where held-out points lie on them to .2 % of the diameter, and the better one of both elsewhere;
            a network where there are gaps to close, pieces of several dimensions or more than four dimensions.
        budget_seconds: for the choice of density "auto", 120 when None; predicted, not measured, so that the same seed chooses the same.
        quiet: no progress bar.

    Raises InvalidInputError for unusable points or names, NotSupportedError for charts above dimension 3, DivergenceError when training fails.
    """
    entry, kind = _density_called(density), _kind_called(manifold)
    _check_constraint(constraint, kind)
    generator = torch.Generator().manual_seed(seed) if generator is None else generator
    cloud = clean(points)[0].cpu()
    check_scale(cloud)
    # A context has a row for every point.
    cloud, strays = (cloud, ()) if context is not None else without_strays(cloud, points)
    context = _context_of(context, points, entry)
    file = None if checkpoint is None else Path(checkpoint)
    if isinstance(kind, Manifold):
        _check_dimension("density", entry, kind.dim, "density='energy'")
        fitted = _given(cloud, kind)
    else:
        inspection = inspect(cloud, dim=dim, generator=generator) if inspection is None else inspection
        _check_dimension("density", entry, inspection.dim, "density='energy'")
        _check_dimension("manifold", kind, inspection.dim, f"manifold={DEFAULT_MANIFOLD!r}")
        learn = _fitted_in_hull if cloud.shape[1] > _WIDE and (kind.name, entry.name) == (DEFAULT_MANIFOLD, DEFAULT_DENSITY) else _fitted
        fitted = learn(kind, cloud, inspection, closed, generator, constraint=constraint, settings=settings, checkpoint=file, quiet=quiet)
    request = DensityRequest(cloud, fitted.manifold, fitted.anchors, generator, context, density_settings, _beside(file), quiet)
    found = choose_density(DENSITIES, request, budget_seconds) if density == "auto" and fitted.manifold.core is None else entry.fit(request)
    notes = (*_chosen(manifold), *_on_strays(strays), *fitted.notes, *found.notes)
    return Model(fitted.manifold, found.distribution, fitted.anchors[:_ANCHORS], inspection.to_dict() if inspection else {}, notes, fitted.training)


def _on_strays(rows: tuple[int, ...]) -> tuple[str, ...]:
    """The note on rows that lie far from all others."""
    named = ", ".join(map(str, rows[:10]))
    return (f"stray: row {named}, counted from 0, far from all others, left out",) if rows else ()


def _fitted(kind: ManifoldKind, cloud: Tensor, found: Inspection, closed: bool, generator: torch.Generator, **training: Any) -> FittedManifold:
    """A manifold of that kind, decided by what the inspection found; `training`: constraint, settings, checkpoint, quiet."""
    if kind.fit is None:
        raise InvalidInputError(f"manifold: {kind.name!r} is a kind that is given, not fitted; pass a Manifold")
    boundary, mixed = found.has_boundary and not closed, len(found.dimension.mixed) > 1
    gaps = found.has_boundary and closed
    return kind.fit(ManifoldRequest(cloud, found.dim, generator, boundary=boundary, mixed=mixed, gaps=gaps, most_anchors=_ANCHORS, **training))


def _fitted_in_hull(kind: ManifoldKind, cloud: Tensor, found: Inspection, closed: bool, generator: torch.Generator, **training: Any) -> FittedManifold:
    """As `_fitted`, in the coordinates of the affine hull at the noise level (of one dimension more than M at least), and brought back from there.

    Of the densities only the uniform one and of the manifolds only the plain zero set are told how to live there.
    """
    ambient, hull = cloud.shape[1], affine_hull(cloud)
    kept = max(hull.dim, found.dim + 1)
    if kept >= ambient:
        return _fitted(kind, cloud, found, closed, generator, **training)
    basis = torch.cat([hull.basis, hull.complement], 1)[:, :kept]
    inner = _fitted(kind, (cloud - hull.mean) @ basis, found, closed, generator, **training)
    manifold = InSubspace(inner.manifold, hull.mean, basis)
    note = f"hull: {kept} of {ambient} linear directions carry more than noise; learned in their coordinates, in which lengths are the same"
    uniform = f"density: {DEFAULT_DENSITY}; others are not tried above {_WIDE} coordinates, density='energy' learns one"
    return FittedManifold(manifold, manifold.embedded(inner.anchors), (note, *inner.notes, uniform), inner.training)


def _given(cloud: Tensor, manifold: Manifold) -> FittedManifold:
    if cloud.shape[1] != manifold.ambient_dim:
        raise InvalidInputError(f"manifold: {manifold!r} lies in R^{manifold.ambient_dim}, the points in R^{cloud.shape[1]}")
    projection = manifold.project(cloud)
    anchors = projection.points[projection.converged].detach()
    if len(anchors) < manifold.dim + 2:
        raise InvalidInputError(f"manifold: only {len(anchors)} of {len(cloud)} points project onto {manifold!r}")
    return FittedManifold(manifold, anchors, ("manifold: given",))


def _chosen(manifold: str | Manifold) -> tuple[str, ...]:
    """What "auto" has chosen, and why."""
    if manifold != "auto":
        return ()
    return (f"manifold: {DEFAULT_MANIFOLD}, which charts are not needed for; manifold='atlas' adds coordinates and certificates",)


def _beside(file: Path | None) -> Path | None:
    """The file that the training of a density resumes from."""
    return None if file is None else file.with_name(f"{file.name}.density")


def _context_of(context: Tensor | None, points: Any, density: Density) -> Tensor | None:
    """The contexts of the distinct points."""
    if context is None:
        return None
    if not density.takes_context:
        able = " or ".join(name for name, entry in DENSITIES.items() if entry.takes_context)
        raise InvalidInputError(f"context: only a {able} depends on one, found density={density.name!r}")
    rows = distinct(points)
    context = torch.as_tensor(context)
    found = len(as_points(points))
    if not context.ndim or len(context) != found:
        raise InvalidInputError(f"context: expected one for each of the {found} points, found shape {tuple(context.shape)}")
    return context[rows]


def _check_dimension(argument: str, entry: Density | ManifoldKind, dim: int, way_out: str) -> None:
    if entry.highest_dim is not None and dim > entry.highest_dim:
        raise NotSupportedError(f"{argument}: {entry.name} is made for dimensions 1 to {entry.highest_dim}, found {dim}; use {way_out}")


def _check_constraint(constraint: object, kind: Manifold | ManifoldKind) -> None:
    if constraint not in CONSTRAINTS:
        raise InvalidInputError(f"constraint: expected one of {', '.join(CONSTRAINTS)}, found {constraint!r}")
    if constraint != "auto" and isinstance(kind, Manifold):
        raise InvalidInputError(f"constraint: {kind!r} is given and none is learned; leave constraint={constraint!r} out")


def _density_called(name: object) -> Density:
    if name == "auto":
        return DENSITIES[DEFAULT_DENSITY]
    if not isinstance(name, str) or name not in DENSITIES:
        raise InvalidInputError(f"density: expected one of auto, {', '.join(DENSITIES)}, found {name!r}")
    return DENSITIES[name]


def _kind_called(name: object) -> Manifold | ManifoldKind:
    if isinstance(name, Manifold):
        return name
    if name == "auto":
        return MANIFOLDS[DEFAULT_MANIFOLD]
    if not isinstance(name, str) or name not in MANIFOLDS or MANIFOLDS[name].fit is None:
        fitted = ", ".join(each for each, kind in MANIFOLDS.items() if kind.fit is not None)
        raise InvalidInputError(f"manifold: expected one of auto, {fitted} or a Manifold, found {name!r}")
    return MANIFOLDS[name]


E = TypeVar("E", Density, ManifoldKind)


def _entry(table: Table[E], thing: object) -> E:
    entry = table.covering(thing)
    if entry is None:
        raise NotSupportedError(f"save: {type(thing).__name__} is not registered; add an entry point to the group {table.group} (docs/own-density.md)")
    return entry


def _build(which: str, document: Mapping[str, Any], tensors: Mapping[str, Tensor], table: Mapping[str, Any], *context: Any) -> Any:
    entry = document.get(which)
    entry = entry if isinstance(entry, dict) else {}
    name, config = entry.get("kind"), entry.get("config")
    if not isinstance(name, str) or name not in table or not isinstance(config, dict):
        raise CheckpointError(f"model.json: {which} of kind {name!r} is not registered; known are {', '.join(table)}")
    own = part(tensors, f"{which}.")
    try:
        return table[name].build(config, own, *context)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"model.json: {which} cannot be built from its configuration ({error}); the file was altered") from error
