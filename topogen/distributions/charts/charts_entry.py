"""Mixtures over charts in the table of densities. A file holds the charts, but not the sheet they lie on: that is the model's own manifold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from topogen.distributions.base import Density, DensityFacts, DensityRequest, FittedDensity
from topogen.distributions.charts.ball_densities import BallBase, Bump
from topogen.distributions.charts.ball_flow import BallFlow
from topogen.distributions.charts.chart_mixture import ChartMixture
from topogen.distributions.charts.fit import fit_fine_charts
from topogen.distributions.charts.fit_flows import fit_flow_charts
from topogen.distributions.charts.flow_training import DEFAULTS
from topogen.distributions.uniform.uniform import LARGEST_DIMENSION
from topogen.errors import NotSupportedError
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.saved_atlas import build_cover, describe_cover
from topogen.manifolds.base import Manifold
from topogen.saving import Saved, part

__all__ = ["ENTRY", "FLOWS", "build_mixture", "describe_mixture"]

_FLOW = ("power", "bins", "width", "code")


def describe_mixture(mixture: ChartMixture) -> Saved:
    """The mixture without the sheet of its charts."""
    config, tensors = describe_cover(mixture.atlas)
    base, learned = _describe_base(mixture.base)
    shares = {"weights": mixture.weights, "kept": mixture.kept, "kept_error": mixture.kept_error}
    return config | {"sheet": "own" if mixture.atlas.sheet is None else "ground", "base": base}, {**tensors, **shares, **learned}


def build_mixture(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold) -> ChartMixture:
    """The mixture again, its charts on the set that `manifold` describes."""
    atlas = build_cover(config, tensors, {"own": None, "ground": manifold.underlying}[config["sheet"]])
    base = _build_base(config["base"], part(tensors, "base."), atlas)
    return ChartMixture(atlas, tensors["weights"], base=base, kept=tensors["kept"], kept_error=tensors["kept_error"])


def _describe_base(base: BallBase) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if isinstance(base, Bump):
        return {"kind": "bump", "power": base.power}, {}
    if isinstance(base, BallFlow):
        return {"kind": "flow"} | {name: getattr(base, name) for name in _FLOW}, {f"base.{name}": value for name, value in base.state_dict().items()}
    raise NotSupportedError(f"save: a base of type {type(base).__name__} is not registered; use Bump or BallFlow")


def _build_base(config: Mapping[str, Any], state: Mapping[str, Tensor], atlas: Atlas) -> BallBase:
    if config["kind"] == "bump":
        return Bump(atlas.dim, float(config["power"]))
    if config["kind"] != "flow":
        raise ValueError(f"a base of kind {config['kind']!r}")
    flow = BallFlow(atlas.count, atlas.dim, **{name: config[name] for name in _FLOW}).to(state["codes"].dtype)
    flow.load_state_dict(dict(state))
    return flow.requires_grad_(False)


def _fit(request: DensityRequest) -> FittedDensity:
    cover = None if request.manifold.charts is None else request.manifold.known_points()
    found = fit_fine_charts(request.points, request.manifold.underlying, cover=cover, generator=request.generator)
    return FittedDensity(found.distribution, found.report.notes)


def _fit_flows(request: DensityRequest) -> FittedDensity:
    found = fit_flow_charts(
        request.points, request.manifold, settings=request.settings, generator=request.generator, checkpoint=request.checkpoint, quiet=request.quiet
    )
    return FittedDensity(found.distribution, found.report.notes)


def _describe(mixture: ChartMixture, manifold: Manifold) -> Saved:
    sheet = mixture.atlas.sheet
    if sheet is not None and sheet is not manifold.underlying:
        raise NotSupportedError(f"save: the density lies on {sheet!r}, the model on another manifold; build the charts on the model's manifold")
    return describe_mixture(mixture)


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> ChartMixture:
    return build_mixture(config, tensors, manifold)


def _facts(mixture: ChartMixture) -> DensityFacts:
    covered, count = mixture.covered, mixture.atlas.count
    text = f"normalised by the share of what its {count} charts draw that is on the manifold, {covered.value:.4f} +- {covered.standard_error:.4f}"
    return DensityFacts({"charts": count, "covered": covered.to_dict()}, text)


ENTRY = Density(
    "charts",
    f"a mixture over many small charts, exactly normalised and drawn, dimensions 1 to {LARGEST_DIMENSION}",
    _fit,
    lambda thing: isinstance(thing, ChartMixture),
    _describe,
    _build,
    highest_dim=LARGEST_DIMENSION,
    facts=_facts,
    pool=lambda mixture: mixture.atlas.points,
    seconds=lambda n, dim, ambient: {1: 2 + 1e-3 * n, 2: 8 + 4e-3 * n}.get(dim, 30 + 8e-3 * n),
)

FLOWS = Density(
    "flows",
    f"a mixture of injective flows over few large charts, exactly normalised and drawn, dimensions 1 to {LARGEST_DIMENSION}",
    _fit_flows,
    lambda thing: isinstance(thing, ChartMixture) and isinstance(thing.base, BallFlow),
    _describe,
    _build,
    highest_dim=LARGEST_DIMENSION,
    settings=lambda steps: replace(DEFAULTS, steps=steps),
    facts=_facts,
    pool=lambda mixture: mixture.atlas.points,
    seconds=lambda n, dim, ambient: {1: 10 + 1e-3 * n, 2: 40 + 3e-3 * n}.get(dim, 90 + 5e-3 * n),
)
