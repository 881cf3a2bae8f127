"""The engine: acceptance, failures that stay, thinning, counts, the warm-up, Ctrl-C; kernels on a lattice whose law is known."""

import math
import signal

import pytest
import torch

from topogen.manifolds.shapes import Sphere
from topogen.sampling import Proposal, TangentRandomWalk, first_step, run_chains, warm_up
from topogen.sampling.chains import acceptance_probability


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Ring:
    """A walk on the points 0 .. m - 1 of a ring with given log densities; some proposals are marked as lost by their place."""

    target_acceptance = 0.5

    def __init__(self, log_density, lost=(), back=()):
        self.log_density = torch.as_tensor(log_density, dtype=torch.float64)
        self.lost, self.back = torch.tensor(lost), torch.tensor(back)
        self.steps, self.adapted = [], 0

    def begin(self, points):
        return points, -self.log_density[points[:, 0].long()]

    def propose(self, state, step, generator):
        self.steps.append(step)
        sign = torch.randint(2, state[1].shape, generator=generator) * 2 - 1
        at = (state[0][:, 0].long() + sign) % len(self.log_density)
        new = -self.log_density[at]
        return Proposal((at.double().unsqueeze(1), new), state[1] - new, torch.isin(at, self.lost), torch.isin(at, self.back), energy=state[1])


def flat(m):
    return torch.zeros(m)


def starts(n, m, generator):
    return torch.randint(m, (n, 1), generator=generator).double()


def test_chains_have_the_law_of_the_ratio():
    """Ring of 5 points with weights 1 .. 5 from the uniform law, one count per chain: chi-square with 4 degrees of freedom below 23.5 (false alarm 1e-4)."""
    weights = torch.arange(1.0, 6)
    generator = seeded(0)
    found = run_chains(Ring(weights.log()), starts(8000, 5, generator), 60, 1.0, thin=60, generator=generator)
    counts = torch.bincount(found.points[0, :, 0].long(), minlength=5)
    expected = 8000 * weights / 15
    assert float(((counts - expected) ** 2 / expected).sum()) < 23.5
    assert torch.equal(found.potentials[0], -weights.log().double()[found.points[0, :, 0].long()])


def test_lost_proposals_are_rejections():
    """Points 1 and 3 cannot be entered: chains at 2 stay for ever and are counted at every step."""
    found = run_chains(Ring(flat(5), lost=[1], back=[3]), torch.full((200, 1), 2.0, dtype=torch.float64), 20, 1.0, generator=seeded(1))
    assert bool((found.points == 2).all()) and found.points.shape == (20, 200, 1)
    assert torch.equal(found.failures + found.non_reversible, torch.ones(200, dtype=torch.float64))
    assert 0.4 < float(found.failures.mean()) < 0.6
    assert not found.acceptance.any() and not found.divergences.any()


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_impossible_proposals_are_rejected(value):
    class Odd(Ring):
        def propose(self, state, step, generator):
            proposal = super().propose(state, step, generator)
            return Proposal(proposal.state, torch.full_like(proposal.log_ratio, value), proposal.failed, proposal.irreversible)

    start = starts(50, 5, seeded(2))
    found = run_chains(Odd(flat(5)), start, 5, 1.0, generator=seeded(3))
    assert torch.equal(found.points[-1], start) and not found.acceptance.any()


def test_acceptance_probability():
    no = torch.zeros(6, dtype=torch.bool)
    failed, irreversible = no.clone(), no.clone()
    failed[3], irreversible[4] = True, True
    ratio = torch.tensor([1.0, 0.0, -1.0, 5.0, 5.0, math.nan], dtype=torch.float64)
    found = acceptance_probability(Proposal((), ratio, failed, irreversible))
    assert torch.allclose(found, torch.tensor([1, 1, math.exp(-1), 0, 0, 0], dtype=torch.float64))


def test_every_thin_th_position_is_kept():
    start = starts(30, 7, seeded(4))
    all_steps = run_chains(Ring(flat(7)), start, 11, 1.0, generator=seeded(5))
    thinned = run_chains(Ring(flat(7)), start, 11, 1.0, thin=3, generator=seeded(5))
    assert torch.equal(thinned.points, all_steps.points[2::3]) and len(thinned.points) == 3
    assert torch.equal(thinned.potentials, all_steps.potentials[2::3]) and torch.equal(thinned.energies, all_steps.energies[2::3])
    assert thinned.n_steps == 11 and torch.equal(thinned.counts, all_steps.counts)


def test_energies_are_there_for_kernels_that_have_them():
    class Plain(Ring):
        def propose(self, state, step, generator):
            proposal = super().propose(state, step, generator)
            return Proposal(proposal.state, proposal.log_ratio, proposal.failed, proposal.irreversible)

    start = starts(5, 4, seeded(6))
    assert run_chains(Plain(flat(4)), start, 3, 1.0, generator=seeded(7)).energies is None
    assert run_chains(Ring(flat(4)), start, 3, 1.0, generator=seeded(7)).energies.shape == (3, 5)


def test_no_steps_no_positions():
    found = run_chains(Ring(flat(4)), starts(5, 4, seeded(8)), 0, 1.0)
    assert found.points.shape == (0, 5, 1) and not found.acceptance.any()


def test_the_warm_up_tunes_for_the_kernel_and_calls_adapt():
    class Tunable(Ring):
        """Acceptance exp(-step)."""

        def propose(self, state, step, generator):
            proposal = super().propose(state, step, generator)
            return Proposal(proposal.state, torch.full_like(proposal.log_ratio, -step), proposal.failed, proposal.irreversible)

        def adapt(self, state, proposal, step):
            assert step == self.steps[-1] and torch.equal(proposal.log_ratio, torch.full_like(proposal.log_ratio, -step))
            self.adapted += 1

    kernel = Tunable(flat(6))
    points, step = warm_up(kernel, starts(100, 6, seeded(9)), 0.01, 150, generator=seeded(10))
    assert kernel.adapted == 150 and len(set(kernel.steps)) > 100
    assert points.shape == (100, 1) and abs(step / math.log(2) - 1) < 0.1
    run_chains(kernel, points, 5, step, generator=seeded(11))
    assert set(kernel.steps[-5:]) == {step} and kernel.adapted == 150, "nothing is tuned after the warm-up"


@pytest.mark.parametrize("interruptible", [True, False])
def test_interrupts(interruptible):
    class Interrupted(Ring):
        def propose(self, state, step, generator):
            if len(self.steps) == 7:
                raise KeyboardInterrupt
            return super().propose(state, step, generator)

    start = starts(20, 5, seeded(12))
    arguments = (Interrupted(flat(5)), start, 100, 1.0)
    if not interruptible:
        with pytest.raises(KeyboardInterrupt):
            run_chains(*arguments, thin=2, generator=seeded(13))
        return
    found = run_chains(*arguments, thin=2, generator=seeded(13), interruptible=True)
    whole = run_chains(Ring(flat(5)), start, 7, 1.0, thin=2, generator=seeded(13))
    assert found.interrupted and not whole.interrupted
    assert found.n_steps == 7 and torch.equal(found.points, whole.points) and torch.equal(found.counts, whole.counts)


def test_a_real_signal_ends_a_run():
    class Signalled(Ring):
        def propose(self, state, step, generator):
            if len(self.steps) == 3:
                signal.raise_signal(signal.SIGINT)
            return super().propose(state, step, generator)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found = run_chains(Signalled(flat(5)), starts(4, 5, seeded(14)), 100, 1.0, interruptible=True)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert found.interrupted and len(found.points) == 3


def test_first_step_follows_the_spread():
    x = Sphere(2).sample(400, seeded(15))
    assert 0.12 < first_step(x, 2) < 0.16
    assert math.isclose(first_step(1e6 * x, 2), 1e6 * first_step(x, 2), rel_tol=1e-9)
    assert first_step(x[:1], 2) > 0 and first_step(torch.zeros(1, 3, dtype=torch.float64), 2) > 0


def test_inputs_are_not_changed_and_seeds_give_bits():
    start = Sphere(2).sample(30, seeded(16))
    kept = start.clone()
    one, two = (run_chains(TangentRandomWalk(Sphere(2)), start, 4, 0.3, generator=seeded(17)).points for _ in range(2))
    assert torch.equal(start, kept) and torch.equal(one, two)
    points, step = warm_up(TangentRandomWalk(Sphere(2)), start, 0.3, 4, generator=seeded(18))
    again, other = warm_up(TangentRandomWalk(Sphere(2)), start, 0.3, 4, generator=seeded(18))
    assert torch.equal(points, again) and step == other and torch.equal(start, kept)


def test_without_a_generator_the_global_one_is_used():
    start = Sphere(2).sample(10, seeded(19))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        one = run_chains(TangentRandomWalk(Sphere(2)), start, 2, 0.3).points
        torch.manual_seed(5)
        two = run_chains(TangentRandomWalk(Sphere(2)), start, 2, 0.3).points
    assert torch.equal(one, two)
