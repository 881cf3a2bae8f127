"""Two kernels in turn: who is asked when, what counts in the tuning, and the law of both together."""

import torch

from topogen.manifolds.shapes import Torus
from topogen.sampling import ConstrainedLangevin, HamiltonianMonteCarlo, Proposal, TangentRandomWalk, Target, run_chains, warm_up
from topogen.sampling.kernels.alternating import Alternating

SHAPE = Torus(1.0, 0.5)


class Mirror:
    """The jump z -> -z, exact for laws that do not tell the sides apart."""

    def __init__(self):
        self.calls = 0

    def begin(self, points):
        return (points,)

    def propose(self, state, step, generator):
        self.calls += 1
        lost = torch.zeros(len(state[0]), dtype=torch.bool)
        return Proposal((state[0] * torch.tensor([1, 1, -1.0], dtype=torch.float64),), lost.double(), lost, lost)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_every_third_proposal_is_a_jump():
    jump = Mirror()
    kernel = Alternating(TangentRandomWalk(SHAPE), jump, 3)
    x = SHAPE.sample(20, seeded(0))
    found = run_chains(kernel, x, 10, 0.01, generator=seeded(1))
    assert jump.calls == 3
    flipped = (found.points[1:, :, 2] + found.points[:-1, :, 2]).abs().amax(1) < 1e-12
    assert flipped.nonzero().squeeze(1).tolist() == [1, 4, 7]
    run_chains(kernel, x, 2, 0.01, generator=seeded(1))
    assert jump.calls == 3, "a new run counts from its own begin"


def test_states_after_a_jump_are_those_of_the_kernel():
    """The next Langevin step from a jumped position equals one from a fresh start there."""
    target = Target(SHAPE, lambda x: x[:, 2] ** 2)
    x = SHAPE.sample(10, seeded(2))
    kernel = Alternating(ConstrainedLangevin(SHAPE, target=target), Mirror(), 1)
    state = kernel.begin(x)
    jumped = kernel.propose(state, 0.1, seeded(3)).state
    fresh = ConstrainedLangevin(SHAPE, target=target).begin(jumped[0])
    assert len(jumped) == len(fresh) and all(torch.allclose(a, b) for a, b in zip(jumped, fresh, strict=True))


def test_jumps_do_not_count_in_the_tuning():
    kernel = HamiltonianMonteCarlo(SHAPE, lambda x: x[:, 0])
    jump, adapted = Mirror(), []
    kernel.adapt = lambda *arguments: adapted.append(arguments)
    both = Alternating(kernel, jump, 4)
    assert both.target_acceptance == kernel.target_acceptance
    _, step = warm_up(both, SHAPE.sample(20, seeded(4)), 0.1, 12, generator=seeded(5))
    assert jump.calls == 3 and len(adapted) == 9 and step > 0


def test_kernels_without_adapt_are_fine():
    warm_up(Alternating(TangentRandomWalk(SHAPE), Mirror(), 2), SHAPE.sample(5, seeded(6)), 0.1, 4, generator=seeded(7))


def test_the_law_is_kept():
    """Torus, E cos phi = .25 from exact draws, |z| < 3.9 (false alarm 1e-4)."""
    generator = seeded(8)
    found = run_chains(Alternating(TangentRandomWalk(SHAPE), Mirror(), 2), SHAPE.sample(1200, generator), 12, 0.6, generator=generator)
    cosine = ((found.points[..., :2].norm(dim=-1) - 1) / 0.5).mean(0)
    assert abs(float((cosine.mean() - 0.25) / (cosine.std() / 1200**0.5))) < 3.9
