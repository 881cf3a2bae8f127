"""The result of sampling: shares, notes, dtype, and the diagnostics it hands on."""

import torch

from topogen.manifolds.shapes import LinkedCircles, Sphere
from topogen.sampling import Chains, ConstrainedLangevin, TangentRandomWalk, run_chains, sample
from topogen.sampling.diagnostics import bulk_ess, energy_bfmi, rank_r_hat, tail_ess


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def walked(seed=0, n_steps=40):
    sphere = Sphere(2)
    return run_chains(TangentRandomWalk(sphere), sphere.sample(30, seeded(seed)), n_steps, 0.8, thin=2, generator=seeded(seed + 1))


def test_of_a_run():
    done = walked()
    chains = Chains.of(done, 0.8, 2, torch.float32, ("said",))
    assert chains.points.dtype == torch.float32 and chains.points.shape == (20, 30, 3)
    assert torch.equal(chains.points, done.points.float()) and torch.equal(chains.potentials, done.potentials)
    assert (chains.step, chains.n_steps, chains.thin, chains.interrupted, chains.notes) == (0.8, 40, 2, False, ("said",))
    for share in (chains.acceptance, chains.failures, chains.non_reversible, chains.divergences):
        assert share.shape == (30,) and bool(((share >= 0) & (share <= 1)).all())
    assert bool((chains.acceptance + chains.failures + chains.non_reversible <= 1 + 1e-12).all())
    assert not chains.divergences.any() and bool(chains.failures.any())


def test_diagnostics_are_those_of_the_positions():
    done = walked()
    chains = Chains.of(done, 0.8, 2, torch.float64)
    assert torch.equal(chains.ess, bulk_ess(done.points)) and torch.equal(chains.tail_ess, tail_ess(done.points))
    assert torch.equal(chains.r_hat, rank_r_hat(done.points))
    assert chains.energies is None and chains.energy_bfmi is None
    sphere = Sphere(2)
    moved = sample(sphere, lambda x: x[:, 2], start=sphere.sample(8, seeded(2)), n_steps=20, n_warm_up=5, kernel="langevin", step=0.3, generator=seeded(3))
    assert moved.energies.shape == (20, 8) and torch.equal(moved.energy_bfmi, energy_bfmi(moved.energies))


def test_an_interrupted_run_says_so():
    sphere = Sphere(2)
    kernel = ConstrainedLangevin(sphere)
    propose, calls = kernel.propose, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return propose(*arguments)

    kernel.propose = interrupted
    done = run_chains(kernel, sphere.sample(3, seeded(4)), 50, 0.2, generator=seeded(5), interruptible=True)
    chains = Chains.of(done, 0.2, 1, torch.float64)
    assert chains.interrupted and chains.notes == ("interrupted after 5 steps",)
    assert chains.n_steps == 5 and len(chains.points) == 5


def test_r_hat_sees_chains_on_separate_components():
    """Chains do not cross between linked circles: R-hat stays above 1.01 and near 1 within one circle."""
    circles = LinkedCircles()
    start = circles.sample(40, seeded(6))
    both = sample(circles, start=start, n_steps=150, n_warm_up=20, step=0.8, kernel="random_walk", generator=seeded(7))
    assert float(both.r_hat.max()) > 1.05
    assert float(both.ess.min()) < 150 * 40 / 20
