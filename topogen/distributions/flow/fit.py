"""Flow matching on a manifold: learning the field that carries points of a base to the data along curves in M (`distributions.flow.flow`).

    E |f(x_t, t) - dx_t/dt|^2      over t uniform in [0, 1] and curves x_t in M from the base to the data (`distributions.flow.couplings`)

is least for the field whose flow carries the law of x_0 to that of x_1. Pairs and curves are made anew several times in a run; the averaged weights with the
best held-out likelihood are kept.
Lipman et al. (2023), Flow matching for generative modeling; Chen, Lipman (2024), Flow matching on general geometries.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from topogen.distributions.charts.fit import fit_fine_charts
from topogen.distributions.diffusion.fit_heat_kernel import heat_kernel_of_data
from topogen.distributions.fields.components import Base, ChartMixtureBase, SampledManifold
from topogen.distributions.fields.prepare import PreparedData, Sizes, field_for, prepare, without_some
from topogen.distributions.fields.training import FittedField, train_field
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.distributions.flow.couplings import Coupler, Couplings, between
from topogen.distributions.flow.flow import FlowMatching
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError
from topogen.manifolds.base import Manifold
from topogen.manifolds.local_polynomial import LARGEST_DIMENSION
from topogen.training.trainer import Settings

__all__ = ["fit_flow"]

BASES = ("heat", "uniform", "charts")
ROUTES = 36_000


def fit_flow(
    points: Tensor,
    manifold: Manifold,
    *,
    context: Tensor | None = None,
    held_out: Tensor | None = None,
    base: str = "heat",
    sizes: Sizes | None = None,
    settings: Settings | None = None,
    uniform: Uniform | None = None,
    ground: SampledManifold | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> FittedField[FlowMatching]:
    """Learn the field that carries a base on M to the law of points (n, D) on or near M.

    `context`: integer labels (n,) or vectors (n, c) that the law depends on; `held_out` (m, D): points to judge by, a tenth of the data when None;
    `base`: "heat", the data smoothed by heat as far as their law is known (`distributions.diffusion.fit_heat_kernel`; the uniform law above d = 3 and for
    contexts of many values); "uniform"; or "charts", a mixture over small charts fitted to the same data (`distributions.charts.fit`, d <= 3), of which the
    flow is a correction; `uniform`, `ground`: where they are made already. `checkpoint` names a file a run resumes from, to the same bits.
    Raises InvalidInputError as `prepare` does, DivergenceError when training fails.
    """
    _check_base(base, manifold, context)
    prepared = prepare(points, manifold, context=context, held_out=held_out, uniform=uniform, ground=ground, generator=generator)
    start = _beginning(base, prepared, manifold, generator)
    field = field_for(prepared, sizes, generator)
    task = _Velocities(prepared, start)
    found, made = train_field(task, prepared, field, settings=settings, generator=generator, checkpoint=checkpoint, label="flow matching", quiet=quiet)
    said = f"; {made.illegal:.1%} of the chords left the tube and were replaced by paths in M, {made.lost:.1%} of the pairs have none"
    return replace(found, notes=(*found.notes[:-1], found.notes[-1] + said))


class _Velocities:
    """The task above, on interpolants at stratified times."""

    def __init__(self, prepared: PreparedData, base: Base) -> None:
        self.prepared, self.base = prepared, base
        self.coupler = Coupler(base, prepared.learn, prepared.reach, prepared.learn_context)
        self.rows = min(ROUTES, len(prepared.learn) * max(1, ROUTES // len(prepared.learn)))

    def make(self, generator: torch.Generator) -> Couplings:
        n = len(self.prepared.learn)
        orders = [torch.randperm(n, generator=generator) for _ in range(-(-self.rows // n))]
        made = self.coupler.couple(torch.cat(orders)[: self.rows], generator)
        return made._replace(nodes=made.nodes.float())

    def count(self, material: Couplings) -> int:
        return self.rows

    def loss(self, field: FieldNetwork, material: Couplings, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        rows = rows % len(material.ends)
        t = (torch.arange(len(rows)) + torch.rand(len(rows), generator=generator)) / len(rows)
        x, velocity = between(material.nodes[rows], t)
        missed = field(x, t, without_some(self.prepared.learn_context, material.ends[rows], generator)) - velocity
        return missed.square().sum(-1).mean() / self.prepared.ground.fast.dim

    def density(self, field: FieldNetwork, tolerance: float) -> FlowMatching:
        return FlowMatching(self.base, field, tolerance=tolerance)


def _beginning(base: str, prepared: PreparedData, manifold: Manifold, generator: torch.Generator | None) -> Base:
    if base == "charts":
        return ChartMixtureBase(prepared.ground, fit_fine_charts(prepared.learn, manifold, generator=generator).distribution)
    known = heat_kernel_of_data(prepared, 0.0) if base == "heat" else None
    return prepared.base if known is None else known[0]


def _check_base(base: str, manifold: Manifold, context: Tensor | None) -> None:
    if base not in BASES:
        raise InvalidInputError(f"base: expected one of {', '.join(BASES)}, found {base!r}")
    if base == "charts" and (manifold.dim > LARGEST_DIMENSION or context is not None):
        raise InvalidInputError("base: charts cover dimensions 1 to 3 and know no context; use base='uniform'")
