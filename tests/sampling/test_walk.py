"""The tangent random walk: exact moments, the reversal check that it needs, walls, failures, seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from topogen.errors import InvalidInputError, ProjectionError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Torus
from topogen.sampling import Kernel, Proposal, TangentRandomWalk, run, sample, warm_up
from topogen.sampling.chains import State

SHAPE = Torus(1.0, 0.5)


def torus(x: Tensor) -> Tensor:
    return ((x[:, :2].norm(dim=1) - 1) ** 2 + x[:, 2] ** 2 - 0.25).unsqueeze(1)


def overcomplete_torus(x: Tensor) -> Tensor:
    """Distance times its gradient: three outputs of rank one, with zeros of the kept section inside the tube."""
    axis = x[:, :2] / x[:, :2].norm(dim=1, keepdim=True)
    spoke = x - torch.cat([axis, torch.zeros_like(axis[:, :1])], 1)
    length = spoke.norm(dim=1, keepdim=True)
    return spoke / length * (length - 0.5)


def ellipse(x: Tensor) -> Tensor:
    return (x[:, :1] ** 2 / 9 + x[:, 1:] ** 2 - 1) / 2


class Unchecked:
    """The planted defect: a kernel that forgets its reversal check."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def begin(self, points: Tensor) -> State:
        return self.kernel.begin(points)

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        proposal = self.kernel.propose(state, step, generator)
        return replace(proposal, irreversible=torch.zeros_like(proposal.irreversible))


def cosines(points: Tensor) -> Tensor:
    return (points[..., :2].norm(dim=-1) - 1) / 0.5


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean of (n_steps, n_chains) with the standard error over independent chains."""
    per_chain = values.mean(0)
    return float(per_chain.mean()), float(per_chain.std() / len(per_chain) ** 0.5)


def test_torus_moment_needs_the_reversal_check() -> None:
    """E cos phi = .25; two-sided 3 s.e. (false alarm .3 %); without the check the bias (.29) is at least 4 s.e."""
    generator = torch.Generator().manual_seed(1)
    kernel = TangentRandomWalk(ImplicitManifold(torus, 2, 3))
    start = SHAPE.sample(1500, generator)
    checked = run(kernel, start, 200, 0.5, generator=generator)
    mean, error = mean_and_error(cosines(checked.points[60:]))
    assert abs(mean - 0.25) < 3 * error
    assert error < 0.008
    assert 0.01 < float(checked.non_reversible.mean()) < 0.08
    assert 0.15 < float(checked.failures.mean()) < 0.45
    biased, error = mean_and_error(cosines(run(Unchecked(kernel), start, 200, 0.5, generator=generator).points[60:]))
    assert biased - 0.25 > 4 * error


@pytest.mark.parametrize("manifold", [ImplicitManifold(overcomplete_torus, 2, 3), SHAPE], ids=["overcomplete", "any manifold"])
def test_other_sections_give_the_same_law(manifold: ImplicitManifold) -> None:
    """E cos phi = .25 within 3.3 s.e. (false alarm .1 % each)."""
    generator = torch.Generator().manual_seed(2)
    chains = run(TangentRandomWalk(manifold), SHAPE.sample(800, generator), 40, 0.5, generator=generator)
    mean, error = mean_and_error(cosines(chains.points[10:]))
    assert abs(mean - 0.25) < 3.3 * error
    assert error < 0.02
    assert float(SHAPE.distance(chains.points[-1]).max()) < 1e-8


def test_target_is_the_length_measure_not_the_co_area() -> None:
    """Ellipse with a gradient that is not of norm 1: E x^2 = 3.476 by length (3.3 s.e., false alarm .1 %), 4.5 for the co-area measure."""
    generator = torch.Generator().manual_seed(3)
    angle = 2 * math.pi * torch.rand(1500, generator=generator, dtype=torch.float64)
    start = torch.stack([3 * angle.cos(), angle.sin()], 1)
    chains = run(TangentRandomWalk(ImplicitManifold(ellipse, 1, 2)), start, 120, 0.6, thin=5, generator=generator)
    mean, error = mean_and_error(chains.points[4:, :, 0] ** 2)
    assert abs(mean - 3.476) < 3.3 * error
    assert error < 0.09


def test_energy_tilts_the_density() -> None:
    """von Mises-Fisher on the sphere, E = -3 z: E z = coth 3 - 1/3 within 3.3 s.e. (false alarm .1 %)."""
    generator = torch.Generator().manual_seed(4)
    sphere = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 2, 3)
    start = torch.nn.functional.normalize(torch.randn(600, 3, generator=generator, dtype=torch.float64), dim=1)
    chains = sample(sphere, lambda x: -3 * x[:, 2], start=start, n_steps=100, n_warm_up=60, generator=generator)
    mean, error = mean_and_error(chains.points[..., 2])
    assert abs(mean - (1 / math.tanh(3) - 1 / 3)) < 3.3 * error
    assert 0.4 < float(chains.acceptance.mean()) < 0.75
    assert bool((chains.r_hat < 1.2).all())
    assert bool((chains.ess > 600).all())


def test_gate_is_a_wall() -> None:
    """Upper half circle: nothing outside, and uniform inside: E y = 2/pi within 3.3 s.e. (false alarm .1 %)."""
    generator = torch.Generator().manual_seed(5)
    circle = ImplicitManifold(lambda x: x.norm(dim=1, keepdim=True) - 1, 1, 2)
    circle.gate = _UpperHalf()
    angle = math.pi * (0.05 + 0.9 * torch.rand(400, generator=generator, dtype=torch.float64))
    chains = run(TangentRandomWalk(circle), torch.stack([angle.cos(), angle.sin()], 1), 200, 0.5, generator=generator)
    assert bool((chains.points[..., 1] > 0).all())
    mean, error = mean_and_error(chains.points[50:, :, 1])
    assert abs(mean - 2 / math.pi) < 3.3 * error


class _UpperHalf(torch.nn.Module):
    def forward(self, x: Tensor, tangent_basis: object) -> Tensor:
        return x[:, 1] > 0


def test_shares_add_up_and_steps_are_frozen_after_the_warm_up() -> None:
    generator = torch.Generator().manual_seed(6)
    kernel = TangentRandomWalk(SHAPE)
    points, step = warm_up(kernel, SHAPE.sample(200, generator), 0.01, 60, generator=generator)
    chains = run(kernel, points, 20, step, thin=3, generator=generator)
    assert chains.points.shape == (6, 200, 3)
    assert chains.step == step
    assert 0.45 < float(chains.acceptance.mean()) < 0.75
    assert bool((chains.acceptance + chains.failures + chains.non_reversible <= 1 + 1e-12).all())


def test_same_seed_same_bits_and_dtype_follows_the_start() -> None:
    start = SHAPE.sample(20, torch.Generator().manual_seed(7))
    before = start.clone()
    one, two = (sample(SHAPE, start=start, n_steps=5, n_warm_up=5, generator=torch.Generator().manual_seed(8)) for _ in range(2))
    assert torch.equal(one.points, two.points)
    assert torch.equal(start, before)
    single = sample(SHAPE, start=start.float(), n_steps=2, n_warm_up=0, step=0.1, generator=torch.Generator().manual_seed(8))
    assert single.points.dtype == torch.float32


def test_bad_arguments_are_named() -> None:
    start = SHAPE.sample(3)
    with pytest.raises(InvalidInputError, match="kernel"):
        sample(SHAPE, start=start, kernel="gibbs")
    with pytest.raises(InvalidInputError, match="start"):
        sample(SHAPE, start=start[0])
    with pytest.raises(InvalidInputError, match="n_steps"):
        sample(SHAPE, start=start, n_steps=0)
    with pytest.raises(ProjectionError):
        sample(SHAPE, start=torch.zeros(1, 3, dtype=torch.float64))
