"""The laws that every Markov kernel on a manifold obeys, as methods of a base class for pytest classes.

A kernel with invariant law pi is judged from exact draws of pi, so no law waits for convergence and every false alarm has a known rate:

    ranks          X_L ~ pi at a uniform random place L of X_1 .. X_K, the rest by the kernel to both sides: for a reversible kernel the rank of
                   f(X_L) among f(X_1) .. f(X_K) is uniform on 1 .. K, whatever f
    invariance     X_0 ~ pi  implies  E f(X_t) = E_pi f  for every t
    reversal       the move, turned round, ends where it began

Gandy, Scott (2020), Unit testing for MCMC and other Monte Carlo methods; Geweke (2004), Getting it right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.errors import NotSupportedError
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.valid_zeros import full_residual_bound
from topogen.sampling.chains import Kernel, Proposal, run_chains
from topogen.sampling.kernels.moves import Mover, NormalFrame
from topogen.sampling.kernels.rattle import Rattle

__all__ = ["RoundTrip", "SamplerLaws", "rank_p_values", "round_trip"]


class RoundTrip(NamedTuple):
    """n moves and the same moves turned round: where they began (`starts` (n, D)), their `ends` (n, D), where the way back ended (`returned` (n, D), NaN
    where it failed), the moves that the kernel would use (`usable` (n,)), and the velocities (n, D) with which they arrived."""

    starts: Tensor
    ends: Tensor
    returned: Tensor
    usable: Tensor
    velocity: Tensor


class SamplerLaws:
    """Laws of a reversible kernel; a subclass writes `manifold`, `kernel` and `exact_sample`, and may write `moments`, `expectations` and `round_trip`.

    `step` of the statistical laws, long enough that moves fail now and then and many are turned down; `local_step`, at which nearly every move succeeds, and
    `n_local_steps` of a trajectory there (1 for kernels without momentum); `n` chains per statistical law, `n_few` for the others; `window` K;
    `false_alarm`, the probability with which each statistical law fails for a right kernel; `seed` of the generators; `needs_failures`: at four times `step`
    some projections must fail, otherwise the law about them has nothing to look at.
    """

    step = 0.5
    local_step = 0.05
    n_local_steps = 5
    n = 4000
    n_few = 300
    window = 10
    false_alarm = 1e-4
    seed = 0
    needs_failures = True

    def manifold(self) -> Manifold:
        """M."""
        raise NotImplementedError("write manifold() in the subclass")

    def kernel(self) -> Kernel:
        """A fresh kernel under test, tuned or with fixed lengths."""
        raise NotImplementedError("write kernel() in the subclass")

    def exact_sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent draws (n, D) float64 from the law that the kernel must leave invariant."""
        raise NotImplementedError("write exact_sample(n, generator) in the subclass")

    def moments(self, points: Tensor) -> Tensor:
        """Test functions f of points (n, D) as (n, q): coordinates, their squares and the products of neighbours."""
        return torch.cat([points, points**2, points * points.roll(1, -1)], 1)

    def expectations(self) -> Tensor | None:
        """Exact means (q,) of `moments`; None compares with the exact draws that the chains start from."""
        return None

    def round_trip(self, kernel: Kernel, points: Tensor, step: float, n_steps: int, generator: torch.Generator) -> RoundTrip:
        """Moves and their reversal; the default knows kernels with a `rattle.Rattle` as `rattle` or a `moves.Mover` as `mover`."""
        return round_trip(kernel, points, step, n_steps, generator)

    def test_ranks_are_uniform(self) -> None:
        """Rank test with false-alarm rate `false_alarm` over all test functions together."""
        generator = self._generator(1)
        p = rank_p_values(self.kernel(), self.exact_sample(self.n, generator), self.step, self.moments, window=self.window, generator=generator)
        smallest = float(p.min()) * len(p)
        assert smallest > self.false_alarm, f"ranks of the exact draw are not uniform: p = {smallest:.2g} after correction, test function {int(p.argmin())}"

    def test_moments_are_invariant(self) -> None:
        """Means over the chains' steps against the truth, every |z| within the normal quantile of `false_alarm`."""
        generator = self._generator(2)
        start = self.exact_sample(self.n, generator)
        found = run_chains(self.kernel(), start, self.window, self.step, generator=generator).points
        values = torch.stack([self.moments(x) for x in found]).mean(0)
        truth = self.expectations()
        excess = values - (self.moments(start) if truth is None else truth)
        z = excess.mean(0) / (excess.std(0) / self.n**0.5).clamp_min(1e-12)
        bound = _two_sided(self.false_alarm / z.numel())
        assert float(z.abs().max()) <= bound, f"mean of test function {int(z.abs().argmax())} is off by {float(z.abs().max()):.1f} s.e. (bound {bound:.1f})"

    def test_single_moves_are_reversible(self) -> None:
        """At `step`: of the moves that the kernel uses, all but 1 in 1000 return within 20 tolerances (2e-8 at scale 1)."""
        trip = self._trip(self.step, 1, self.n, 3)
        missed = self._missed(trip)[trip.usable]
        assert len(missed) >= 50, f"only {len(missed)} moves to look at; shorten `step`"
        assert float(missed.double().mean()) <= 1e-3, f"{int(missed.sum())} of {len(missed)} moves do not return to where they began"

    def test_trajectories_are_reversible(self) -> None:
        """At `local_step`: at least 95 % of all trajectories are made, leave their start and return to it."""
        trip = self._trip(self.local_step, self.n_local_steps, self.n_few, 4)
        moved = trip.usable & ((trip.ends - trip.starts).norm(dim=-1) > 1e-3 * self.local_step)
        good = moved & ~self._missed(trip)
        assert float(good.double().mean()) >= 0.95, f"{int(trip.usable.sum())} of {len(good)} are usable, {int(moved.sum())} moved, {int(good.sum())} returned"

    def test_positions_stay_on_the_manifold(self) -> None:
        """Constraint residual within the tolerance of float64 at every kept position, and the chains do move."""
        m, generator = self.manifold(), self._generator(5)
        start = self.exact_sample(self.n_few, generator)
        points = run_chains(self.kernel(), start, self.window, self.step, generator=generator).points
        assert float(((points[-1] - start).norm(dim=-1) > 0).double().mean()) > 0.2, "too few chains moved to say anything"
        worst, bound = float(_residual(m, points.reshape(-1, m.ambient_dim)).max()), m.tolerance(torch.float64)
        assert worst <= bound, f"residual {worst:.3g} > {bound:.3g}"

    def test_velocities_are_tangent(self) -> None:
        """Where a move arrives, its velocity is a tangent vector."""
        m, trip = self.manifold(), self._trip(self.local_step, self.n_local_steps, self.n_few, 6)
        x, v = trip.ends[trip.usable], trip.velocity[trip.usable]
        length = v.norm(dim=-1)
        assert len(x) and float(length.min()) > 0, "no moves to look at"
        worst = float(((v - m.proju(x, v)).norm(dim=-1) / length).max())
        assert worst <= 1e-8, f"normal part of a velocity, relative: {worst:.3g}"

    def test_failed_moves_keep_the_position(self) -> None:
        """At four times `step`: chains whose move failed stay to the bit, the others are where they were or where the proposal is."""
        start = self.exact_sample(self.n_few, self._generator(7))
        proposal = self._proposal(start)
        after = run_chains(self.kernel(), start, 1, 4 * self.step, generator=self._generator(8)).points[0]
        lost = proposal.failed | proposal.irreversible
        assert bool(lost.any()) or not self.needs_failures, "no move failed, so nothing is known about failures; lengthen `step`"
        assert torch.equal(after[lost], start[lost]), "a chain moved although its move had failed"
        stayed, arrived = (after == start).all(-1), (after == proposal.state[0]).all(-1)
        assert bool((stayed | arrived).all()), "a chain is neither where it was nor where it was proposed to go"

    def test_same_seed_same_bits(self) -> None:
        """Chains are a function of start and seed, another seed moves them differently, and the global generator is left alone."""
        start = self.exact_sample(self.n_few, self._generator(9))
        before = torch.random.get_rng_state()
        one, two, other = (run_chains(self.kernel(), start, 3, self.step, generator=self._generator(salt)).points for salt in (10, 10, 11))
        assert torch.equal(one, two), "the same seed gives other bits"
        assert not torch.equal(one, other), "the seed does not matter"
        assert torch.equal(before, torch.random.get_rng_state()), "the global generator was used although another was given"

    def test_inputs_are_not_changed(self) -> None:
        """Neither the start nor the state that is proposed from is written to."""
        start = self.exact_sample(self.n_few, self._generator(12))
        kernel, kept = self.kernel(), start.clone()
        state = kernel.begin(start)
        copies = [part.clone() for part in state]
        kernel.propose(state, self.step, self._generator(13))
        run_chains(kernel, start, 2, self.step, generator=self._generator(14))
        assert torch.equal(start, kept), "the start was changed"
        assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(state, copies, strict=True)), "the state was changed"

    def _proposal(self, start: Tensor) -> Proposal:
        kernel = self.kernel()
        return kernel.propose(kernel.begin(start), 4 * self.step, self._generator(8))

    def _trip(self, step: float, n_steps: int, n: int, salt: int) -> RoundTrip:
        generator = self._generator(salt)
        return self.round_trip(self.kernel(), self.exact_sample(n, generator), step, n_steps, generator)

    def _missed(self, trip: RoundTrip) -> Tensor:
        return ~((trip.returned - trip.starts).norm(dim=-1) <= 20 * self.manifold().tolerance(torch.float64))

    def _generator(self, salt: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self.seed + salt)


def rank_p_values(
    kernel: Kernel, exact: Tensor, step: float, functions: Callable[[Tensor], Tensor], *, window: int = 10, generator: torch.Generator | None = None
) -> Tensor:
    """p-values (q,) that the rank of the exact draw is uniform, for each of the test functions, points (n, D) -> (n, q).

    `exact` (n, D): independent draws from the law that the reversible `kernel` leaves invariant; `window` K >= 2. A chi-square test of the K ranks and a z-test
    of their mean, the smaller p-value doubled; ties, which rejections make, are broken by lot.
    """
    place = torch.randint(window, (len(exact),), generator=generator)
    states = _two_sided_chains(kernel, exact, step, window, place, generator)
    values = torch.stack([functions(x) for x in states])
    own = functions(exact)
    below, ties = (values < own).sum(0), (values == own).sum(0)
    lot = torch.rand(own.shape, dtype=torch.float64, generator=generator)
    rank = below + (lot * ties).floor().long()
    return torch.stack([_uniformity(column, window) for column in rank.unbind(1)])


def round_trip(kernel: Kernel, points: Tensor, step: float, n_steps: int, generator: torch.Generator) -> RoundTrip:
    """Trajectories of n_steps steps and their reversal for kernels over a `Rattle`, one move and its way back for kernels over a `Mover`.

    Raises NotSupportedError for a kernel with neither.
    """
    if hasattr(kernel, "rattle"):
        return _flipped(kernel.rattle, points, step, n_steps, generator)
    if hasattr(kernel, "mover"):
        return _returned(kernel.mover, points, step, generator)
    raise NotSupportedError(f"kernel: {type(kernel).__name__} has neither `rattle` nor `mover`; write SamplerLaws.round_trip for it")


def _two_sided_chains(kernel: Kernel, exact: Tensor, step: float, window: int, place: Tensor, generator: torch.Generator | None) -> Tensor:
    """States (K, n, D) with the exact draw of every chain at its `place` (n,).

    The t-th transition has one seed, whether it is made forwards or backwards: what chains share in it (a random trajectory length) must not depend on their
    places. No number is used twice, because a chain makes every transition in one direction only.
    """
    seeds = torch.randint(2**62, (window - 1,), generator=generator).tolist()
    states = exact.repeat(window, 1, 1)
    for t in range(window - 1):
        ahead = _transition(kernel, states[t], step, seeds[t])
        states[t + 1] = torch.where((place <= t).unsqueeze(1), ahead, states[t + 1])
    for t in reversed(range(window - 1)):
        behind = _transition(kernel, states[t + 1], step, seeds[t])
        states[t] = torch.where((place > t).unsqueeze(1), behind, states[t])
    return states


def _transition(kernel: Kernel, points: Tensor, step: float, seed: int) -> Tensor:
    return run_chains(kernel, points, 1, step, generator=torch.Generator().manual_seed(seed)).points[0]


def _uniformity(rank: Tensor, window: int) -> Tensor:
    """p-value that ranks (n,) in 0 .. K - 1 are uniform."""
    n = len(rank)
    counts = torch.bincount(rank, minlength=window).double()
    chi_square = ((counts - n / window) ** 2).sum() * window / n
    omnibus = torch.special.gammaincc(torch.tensor((window - 1) / 2, dtype=torch.float64), chi_square / 2)
    z = (rank.double().mean() - (window - 1) / 2) / math.sqrt((window**2 - 1) / 12 / n)
    return (2 * torch.minimum(omnibus, torch.special.erfc(z.abs() / math.sqrt(2)))).clamp(max=1)


def _flipped(rattle: Rattle, points: Tensor, step: float, n_steps: int, generator: torch.Generator) -> RoundTrip:
    state = rattle.begin(points)
    noise = torch.randn(points.shape, dtype=points.dtype, generator=generator)
    momentum = rattle.mass**0.5 * rattle.mover.tangent(NormalFrame(state[2], state[3]), noise)
    there = rattle.run(state, momentum, step, n_steps)
    back = rattle.run(there.state, -there.momentum, step, n_steps)
    return RoundTrip(points, there.state[0], _unless(back.stopped, back.state[0]), ~there.stopped, there.momentum / rattle.mass)


def _returned(mover: Mover, points: Tensor, step: float, generator: torch.Generator) -> RoundTrip:
    frame, bound = mover.place(points), points.new_full(points.shape[:1], full_residual_bound(mover.manifold, points))
    noise = torch.randn(points.shape, dtype=points.dtype, generator=generator)
    there = mover.move(points, frame, step * mover.tangent(frame, noise), bound)
    back = mover.move(there.points, there.frame, there.back, bound)
    return RoundTrip(points, there.points, _unless(back.failed, back.points), ~(there.failed | there.irreversible), -there.back)


def _unless(failed: Tensor, points: Tensor) -> Tensor:
    return torch.where(failed.unsqueeze(1), torch.nan, points)


def _two_sided(alarm: float) -> float:
    """b with P(|z| > b) = alarm for a standard normal z."""
    return math.sqrt(2) * float(torch.special.erfinv(torch.tensor(1 - alarm, dtype=torch.float64)))


def _residual(manifold: Manifold, points: Tensor) -> Tensor:
    """Kept residual of an implicit manifold, distance to the projection otherwise (n,)."""
    if manifold.constraint is not None:
        return manifold.kept_residual(points)
    return (manifold.project(points).points - points).norm(dim=-1)
