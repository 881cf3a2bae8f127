"""`Model`: a manifold, a distribution on it and the inspection of the data behind both; `fit`, `save`, `load`.

    points -> clean -> inspect -> constraint learned by denoising -> ImplicitManifold (gated where the data end) -> distribution on it

`fit` takes every decision from the inspection and says which and why in `Model.notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topogen.distributions.charts.chart_mixture import ChartMixture
from topogen.distributions.charts.fit import fit_fine_charts
from topogen.distributions.diffusion.fit import fit_diffusion
from topogen.distributions.energy.energy import Energy
from topogen.distributions.energy.fit import fit_energy
from topogen.distributions.flow.fit import fit_flow
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import CheckpointError, InvalidInputError, NotSupportedError
from topogen.inspection import Inspection, inspect
from topogen.learning.atlas.fit import learn_atlas
from topogen.learning.implicit.fit import Fitted, fit_implicit
from topogen.manifolds.atlas.atlas import Atlas, ground_of
from topogen.manifolds.base import Manifold, Projection
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.points import as_points, clean, distinct
from topogen.registry import DISTRIBUTIONS, MANIFOLDS
from topogen.saving import Description, Kind, kind_of, read_folder, write_folder
from topogen.training.trainer import Settings

__all__ = ["Model", "fit", "load"]

MANIFOLD_CHOICES = ("auto", "implicit", "atlas")
DENSITY_CHOICES = ("auto", "uniform", "energy", "charts", "diffusion", "flow")
CHARTED = 3
_ANCHORS = 20_000


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
        """Log density (...) at the projection of x (..., D) onto M, with respect to the d-dimensional volume (Hausdorff) measure of M, in data units."""
        density: Tensor = self.distribution.log_prob(x)
        return density

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
        _check_ground(self.manifold, self.distribution)
        parts = {"manifold": _describe(self.manifold, MANIFOLDS), "distribution": _describe(self.distribution, DISTRIBUTIONS)}
        document = {name: {"kind": part.kind, "config": dict(part.config)} for name, part in parts.items()}
        tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.tensors.items()}
        training = {name: value for name, value in self.training.items() if name != "seconds"}
        extra = {"inspection": dict(self.inspection), "notes": list(self.notes), "training": training}
        write_folder(Path(folder), {**document, **extra}, {**tensors, "anchors": self.anchors})


def load(folder: str | Path) -> Model:
    """The model saved in a folder; raises CheckpointError where it is missing, torn, altered, of another schema or of an unregistered kind."""
    document, tensors = read_folder(Path(folder))
    anchors = tensors.get("anchors", torch.empty(0, 0, dtype=torch.float64))
    manifold = _build("manifold", document, tensors, MANIFOLDS)
    distribution = _build("distribution", document, tensors, DISTRIBUTIONS, manifold, anchors)
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
    quiet: bool = False,
) -> Model:
    """Fit a model to a cloud (n, D).

    Args:
        points: anything `topogen.points.as_points` takes.
        manifold: "implicit" learns a constraint; "atlas" covers its zero set by charts as well (dimensions 1 to 3); "auto" is "implicit", which needs less time
            and has the same points; a `Manifold` is taken as given.
        density: "uniform"; "energy" learns where on M the data lie (`distributions.energy.fit`); "charts" learns that as a mixture over many small charts,
        exactly
            normalised and sampled (`distributions.charts.fit`), in dimensions 1 to 3; "diffusion" and "flow" learn it as what a field on M carries the uniform
            distribution to (`distributions.diffusion.fit`, `distributions.flow.fit`); "auto" is "uniform", which is what the topology is verified on.
        dim: dimension of M, estimated when None.
        seed: seeds the generator when none is given; same machine, versions, threads and seed: same bits.
        settings: steps, batch, rate of the training; inspection: an `Inspection` of the same points made before.
        checkpoint: file a training run resumes from and keeps rewriting; the training of a diffusion or flow adds ".density" to its name.
        closed: M has no boundary, whatever the data look like; they are gaps then (floods on land, M the sphere), and no gate is set.
        context: integer labels (n,) or vectors (n, c), one per point, that a diffusion or flow is to depend on.
        density_settings: steps, batch, rate of the training of a diffusion or flow.
        quiet: no progress bar.

    Raises InvalidInputError for unusable points or names, NotSupportedError for charts above dimension 3, DivergenceError when training fails.
    """
    _check_choice("manifold", manifold, MANIFOLD_CHOICES)
    _check_choice("density", density, DENSITY_CHOICES)
    generator = torch.Generator().manual_seed(seed) if generator is None else generator
    cloud, _ = clean(points)
    wanted = _Wanted(density, _context_of(context, points, density), density_settings, None if checkpoint is None else Path(checkpoint), quiet)
    if isinstance(manifold, Manifold):
        _check_dimension(density, manifold.dim)
        return _given(cloud, manifold, wanted, inspection, generator)
    found = inspection if inspection is not None else inspect(cloud, dim=dim, generator=generator)
    _check_dimension(density, found.dim)
    fitted = fit_implicit(
        cloud, found.dim, boundary=found.has_boundary and not closed, pieces=len(found.dimension.mixed) > 1, settings=settings, generator=generator,
        checkpoint=None if checkpoint is None else Path(checkpoint), quiet=quiet,
    )  # fmt: skip
    return _assemble(fitted, found, cloud, manifold, wanted, generator)


@dataclass(frozen=True)
class _Wanted:
    """What is asked of the density."""

    density: str
    context: Tensor | None
    settings: Settings | None
    checkpoint: Path | None
    quiet: bool


def _assemble(fitted: Fitted, found: Inspection, cloud: Tensor, manifold: str, wanted: _Wanted, generator: torch.Generator) -> Model:
    chosen = []
    if manifold == "auto":
        chosen.append("manifold: implicit, which charts are not needed for; manifold='atlas' adds coordinates and certificates")
    if wanted.density == "auto":
        chosen.append(
            "density: uniform, on which the topology is verified; density='energy', 'charts', 'diffusion' or 'flow' learns where on the manifold the data lie"
        )
    anchors = fitted.anchors[:_ANCHORS]
    charted = learn_atlas(fitted.manifold, anchors, generator=generator, quiet=wanted.quiet) if manifold == "atlas" else None
    learned = fitted.manifold if charted is None else charted.atlas
    distribution, said = _density(wanted, learned, cloud, anchors, generator)
    notes = (*chosen, *fitted.notes, *(charted.notes if charted is not None else ()), *said)
    return Model(learned, distribution, anchors, found.to_dict(), notes, fitted.summary())


def _density(
    wanted: _Wanted, manifold: Manifold, cloud: Tensor, anchors: Tensor, generator: torch.Generator
) -> tuple[torch.distributions.Distribution, tuple[str, ...]]:
    """The distribution of that name, and what is to be said about it."""
    if wanted.density == "charts":
        cover = manifold.points if isinstance(manifold, Atlas) else None
        charted = fit_fine_charts(cloud, ground_of(manifold), cover=cover, generator=generator)
        return charted.distribution, charted.report.notes
    if wanted.density == "energy":
        fitted = fit_energy(cloud, ground_of(manifold), generator=generator, quiet=wanted.quiet)
        return fitted.distribution, fitted.notes
    if wanted.density in ("diffusion", "flow"):
        return _carried(wanted, ground_of(manifold), cloud, anchors, generator)
    return Uniform(manifold, points=anchors, generator=generator), ()


def _carried(
    wanted: _Wanted, manifold: Manifold, cloud: Tensor, anchors: Tensor, generator: torch.Generator
) -> tuple[torch.distributions.Distribution, tuple[str, ...]]:
    """A diffusion or a flow on M."""
    fit_one = fit_diffusion if wanted.density == "diffusion" else fit_flow
    file = None if wanted.checkpoint is None else wanted.checkpoint.with_name(f"{wanted.checkpoint.name}.density")
    uniform = Uniform(manifold, points=anchors, generator=generator)
    found = fit_one(
        cloud, manifold, context=wanted.context, settings=wanted.settings, uniform=uniform, generator=generator, checkpoint=file, quiet=wanted.quiet
    )
    return found.distribution, found.notes


def _context_of(context: Tensor | None, points: Any, density: str) -> Tensor | None:
    """The contexts of the distinct points."""
    if context is None:
        return None
    if density not in ("diffusion", "flow"):
        raise InvalidInputError(f"context: only a diffusion or flow depends on one, found density={density!r}")
    rows = distinct(points)
    context = torch.as_tensor(context)
    found = len(as_points(points))
    if not context.ndim or len(context) != found:
        raise InvalidInputError(f"context: expected one for each of the {found} points, found shape {tuple(context.shape)}")
    return context[rows]


def _given(cloud: Tensor, manifold: Manifold, wanted: _Wanted, inspection: Inspection | None, generator: torch.Generator) -> Model:
    if cloud.shape[1] != manifold.ambient_dim:
        raise InvalidInputError(f"manifold: {manifold!r} lies in R^{manifold.ambient_dim}, the points in R^{cloud.shape[1]}")
    projection = manifold.project(cloud)
    anchors = projection.points[projection.converged].detach()
    if len(anchors) < manifold.dim + 2:
        raise InvalidInputError(f"manifold: only {len(anchors)} of {len(cloud)} points project onto {manifold!r}")
    found = {} if inspection is None else inspection.to_dict()
    distribution, said = _density(wanted, manifold, cloud, anchors, generator)
    density = "uniform" if wanted.density == "auto" else wanted.density
    return Model(manifold, distribution, anchors[:_ANCHORS], found, (f"manifold: given; density: {density}", *said))


def _check_dimension(density: str, dim: int) -> None:
    if density == "charts" and dim > CHARTED:
        raise NotSupportedError(f"density: charts cover dimensions 1 to {CHARTED}, found {dim}; use density='energy'")


def _check_ground(manifold: Manifold, distribution: object) -> None:
    """A file holds a mixture's charts but not the set they describe, which is the model's own."""
    sheet = distribution.atlas.sheet if isinstance(distribution, ChartMixture) else None
    if sheet is not None and sheet is not ground_of(manifold):
        raise NotSupportedError(f"save: the density lies on {sheet!r}, the model on another manifold; build the charts on the model's manifold")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value in choices or (name == "manifold" and isinstance(value, Manifold)):
        return
    also = " or a Manifold" if name == "manifold" else ""
    raise InvalidInputError(f"{name}: expected one of {', '.join(choices)}{also}, found {value!r}")


def _describe(thing: Any, registry: Mapping[str, Kind]) -> Description:
    kind = kind_of(thing, registry)
    if kind is None:
        raise NotSupportedError(f"save: {type(thing).__name__} is not registered; add a Kind for it to topogen.registry")
    if isinstance(thing, ImplicitManifold) and not isinstance(thing.constraint, torch.nn.Module):
        raise NotSupportedError("save: the constraint is a plain function, which a file cannot hold; only learned constraints can be saved")
    config, tensors = kind.describe(thing)
    return Description(kind.name, config, tensors)


def _build(part: str, document: Mapping[str, Any], tensors: Mapping[str, Tensor], registry: Mapping[str, Kind], *context: Any) -> Any:
    entry = document.get(part)
    entry = entry if isinstance(entry, dict) else {}
    name, config = entry.get("kind"), entry.get("config")
    if not isinstance(name, str) or name not in registry or not isinstance(config, dict):
        raise CheckpointError(f"model.json: {part} of kind {name!r} is not registered; known are {', '.join(registry)}")
    own = {key.removeprefix(f"{part}."): tensor for key, tensor in tensors.items() if key.startswith(f"{part}.")}
    try:
        return registry[name].build(config, own, *context)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"model.json: {part} cannot be built from its configuration ({error}); the file was altered") from error
