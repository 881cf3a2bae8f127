"""A constraint learned by denoising at all scales, as a gradient.

With x from the data, s log-uniform in [s_min(x), s_max(x)] and e ~ N(0, I), minimise

    E | grad(1/2 |F|^2)(x + s e) - s e |^2 / s^2   +   lambda E |F(x)|^2 ,      grad(1/2 |F|^2) = J^t F .

The first term makes 1/2 |F|^2 half the squared distance to M (the noise that pushed a point off M is what its gradient must return), so that
J J^t is the identity on the normal space and x - J^t F a step onto M. The second pins F to zero on M; its weight is ramped from 0 to lambda between 30 % and
60 % of the steps, because pinned from the start the rank collapses and unpinned an overcomplete F need not vanish on M. lambda = 300; 20 for a
single output, which vanishes by itself and is only rid of its curvature bias (300 flattens it where the data have more detail than the network).

m = 1 for closed hypersurfaces (two-sided, so a regular F exists). Otherwise m = h + 2 with h the dimension of the affine hull, read with constant rank
r = h - d. A regular F with m = r exists only where the normal bundle is trivial, never for a non-orientable M. With m = h one exists always, F = x - pi(x),
but training gets caught in defects where kept singular values vanish: F is a section with values in the Stiefel manifold V_r(R^m), which is
(m - r - 1)-connected, so only from m = h + 1 on no defect on a d-dimensional M is held by topology. Defects can still survive as saddles (J = 0 is
one): started at F(x) = (x - c) / 2 the way to x - pi(x) has none (smallest kept value on a noisy projective plane .65, .10 when started at 0).

Scales: with probability .85 s is log-uniform in [s_min, s_max] per point, s_max = .7 reach / sqrt(h - d), not below 3 s_min. Noise s moves what is learned by
its curvature bias s^2 / reach, but a network that starts with fine noise stays torn: it has to find M as a whole first. So s_min falls, in its logarithm, from
max(noise, min(.007 diameter, .05 reach)) during the first 150 steps to a quarter of that, not below the noise, at 60 % of the steps; trainings of up to 250
steps keep the coarse floor. It stays coarse too where noise was removed: what sheets leave on the points is not independent from point to point, and is
learned as if it were M at finer scales.
Otherwise log-uniform from s_max to .35 diameter, which decides nothing near M (its weight there falls like s^-(h-d+2)) and keeps zeros from appearing far away.
A single output is told its sign at first: F(x + s e) = s <n, e> with n the normals that agree (`sides`), its weight falling from 1 to 0 over the first
15 % of the steps; left to itself it starts with patches of either sign and keeps the seams between them. The first layer starts at the
reach per point (`ConstraintNetwork.place`), and the optimiser is SOAP: Adam alone is far from the minimum when its steps are done.
Points moved onto sheets err together, over the width of a sheet (.18 % of the diameter on a torus with 1 % noise). A network that starts at the
reach follows them there (.16 %); one with the plain start and half the steps evens them out (.09 %), and is used where noise was removed.
Denoising: Vincent (2011), A connection between score matching and denoising autoencoders; gradient form: Chen et al. (2014), Saremi et al. (2018),
Deep energy estimator networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from topogen.geometry.clouds.dimension import AffineHull
from topogen.geometry.clouds.scales import Scales
from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.learning.implicit.sides import agreeing_normals
from topogen.training.soap import Soap
from topogen.training.trainer import Callback, EarlyStopping, Settings, TrainingReport, TrainingState, train

__all__ = ["ConstraintLearner", "LearnedConstraint", "NoiseLevels", "Ramp", "learn_constraint", "noise_levels"]

PIN, PIN_ONE = 300.0, 20.0
EXTRA_OUTPUTS = 2
FAR_SHARE, FAR_SCALE = 0.15, 0.35
COARSEST, COARSE = 0.007, 0.05
FINEST, FINE = COARSEST / 4, COARSE / 4
FOUND, FALLEN = 150, 0.6
GUIDED = 0.15
WIDTH = 128
DEFAULTS, SMOOTHING = Settings(steps=3000, rate=3e-3), Settings(steps=1500, rate=3e-3)


@dataclass(frozen=True)
class NoiseLevels:
    """Bounds s_min, s_max (n,) per point of the noise a constraint is trained with, `first` the s_min (n,) that training starts with, `far` the largest
    noise of all (data units), and `empty`: the share of points where noise or spacing leave no room below the reach, so that the constraint is not to be
    trusted there."""

    first: Tensor
    low: Tensor
    high: Tensor
    far: float
    empty: float


@dataclass(frozen=True)
class LearnedConstraint:
    """A trained `network` with the noise `levels` it was trained at and the trainer's `training` report."""

    network: ConstraintNetwork
    levels: NoiseLevels
    training: TrainingReport


def noise_levels(scales: Scales, codim: int, removed: float = 0.0) -> NoiseLevels:
    """The noise levels above, from the scales of a cloud and the codimension h - d in its hull. Half the noise `removed` is a floor too: some is left."""
    reach = scales.reach_per_point.clamp(max=scales.diameter / 2)
    room = reach / math.sqrt(codim)
    empty = float((scales.spacing_per_point.clamp(min=scales.noise) >= room).double().mean())
    floor = max(scales.noise, removed / 2)
    first = (COARSE * reach).clamp(max=COARSEST * scales.diameter).clamp(min=floor)
    low = first if removed else (FINE * reach).clamp(max=FINEST * scales.diameter).clamp(min=floor)
    return NoiseLevels(first, low, torch.maximum(0.7 * room, 3 * first), FAR_SCALE * scales.diameter, empty)


class ConstraintLearner(nn.Module):
    """The objective above for a `network`, on rows (coordinates in the hull, log s_min at first and in the end, log s_max), and the normal after them where one
    output is told its sign; `far` the largest scale in units of the network's coordinates, `pin` is lambda, `share` its current fraction, `guide` the weight
    of the sign, `fallen` how far s_min has come."""

    def __init__(self, network: ConstraintNetwork, far: float, pin: float) -> None:
        super().__init__()
        self.network = network
        self.log_far = math.log(far)
        self.pin = pin
        self.share = 0.0
        self.guide = 0.0
        self.fallen = 0.0

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mean objective (scalar) over rows (n, h + 3) or (n, 2h + 3); draws s and e from `generator`."""
        hull = self.network.get_buffer("hull").shape[1]
        x, first, low, high, normal = points.split([hull, 1, 1, 1, points.shape[1] - hull - 3], 1)
        low = torch.lerp(first, low, self.fallen)
        distant = torch.rand(low.shape, generator=generator, device=x.device) < FAR_SHARE
        low, high = torch.where(distant, high, low), torch.where(distant, high.clamp(min=self.log_far), high)
        scale = torch.exp(low + (high - low) * torch.rand(low.shape, generator=generator, device=x.device))
        noise = scale * torch.randn(x.shape, generator=generator, device=x.device)
        loss = (((self.network.pull(x + noise) - noise) / scale) ** 2).sum(-1).mean()
        if self.share > 0:
            loss = loss + self.share * self.pin * (self.network.inner(x) ** 2).sum(-1).mean()
        if self.guide > 0 and normal.shape[1]:
            off = (self.network.inner(x + noise) - (noise * normal).sum(1, keepdim=True)) / scale
            loss = loss + self.guide * (off.square() * ~distant).mean()
        return loss


class Ramp:
    """Raise a learner's `share` linearly from 0 to 1 between the shares `start` and `end` of the steps, lower its `guide` from 1 to 0 at the beginning, and
    its floor of noise (`fallen`, from 0 to 1) once M is found as a whole."""

    def __init__(self, learner: ConstraintLearner, start: float = 0.3, end: float = 0.6) -> None:
        self.learner, self.start, self.end = learner, start, end

    def begin(self, state: TrainingState) -> None:
        """Set all three for this step."""
        progress = state.step / state.steps
        self.learner.share = min(max((progress - self.start) / (self.end - self.start), 0.0), 1.0)
        self.learner.guide = max(1 - progress / GUIDED, 0.0)
        fall = FALLEN * state.steps - FOUND
        self.learner.fallen = min(max((state.step - FOUND) / fall, 0.0), 1.0) if fall > 0 else 0.0

    def measured(self, state: TrainingState) -> None:
        """Nothing to do after a measurement."""


def learn_constraint(
    points: Tensor,
    dim: int,
    hull: AffineHull,
    scales: Scales,
    *,
    closed: bool,
    settings: Settings | None = None,
    width: int = WIDTH,
    removed: float = 0.0,
    skip: float = 0.5,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> LearnedConstraint:
    """Learn the constraint of points (n, D) near a manifold of dimension `dim`, in the affine `hull` of the cloud, with the `scales` measured in it.

    `closed`: no boundary was found; closed hypersurfaces of their affine hull get one output, everything else hull.dim + 2.
    `removed`: the noise that the points had before they were moved onto sheets; where there was any, the network starts plainly.
    `skip`: the linear part of an overcomplete F starts at `skip` times the identity.
    Raises DivergenceError, InvalidInputError.
    """
    spread = float((points - hull.mean).norm(dim=1).square().mean().sqrt())
    codim = hull.dim - dim
    outputs = 1 if codim == 1 and closed else hull.dim + EXTRA_OUTPUTS
    network = ConstraintNetwork(hull.mean, spread, hull.basis, outputs, width, skip=skip if outputs > 1 else 0.0, generator=generator)
    levels = noise_levels(scales, codim, removed)
    coordinates = network.coordinates(points)
    if not removed:
        network.place(coordinates, _detail(scales) / spread, generator)
    columns = [coordinates, _logs(levels.first / spread), _logs(levels.low / spread), _logs(levels.high / spread)]
    if outputs == 1:
        columns.append(agreeing_normals(hull.coordinates(points), scales.spacing_per_point).float())
    rows = torch.cat(columns, 1)
    learner = ConstraintLearner(network, levels.far / spread, PIN_ONE if outputs == 1 else PIN)
    callbacks: list[Callback] = [Ramp(learner), EarlyStopping()]
    settings = (settings or Settings()).filled(SMOOTHING if removed else DEFAULTS)
    training = train(learner, rows, settings, generator=generator, callbacks=callbacks, optimiser=Soap, checkpoint=checkpoint, label="constraint", quiet=quiet)
    return LearnedConstraint(network, levels, training)


def _detail(scales: Scales) -> Tensor:
    """Lengths (n,) over which a constraint bends near each point: the reach, but nothing finer than the points show."""
    shown = scales.spacing_per_point.clamp(min=scales.noise)
    return torch.maximum(scales.reach_per_point, shown).clamp(max=scales.diameter / 2)


def _logs(lengths: Tensor) -> Tensor:
    return lengths.log().float().unsqueeze(1)
