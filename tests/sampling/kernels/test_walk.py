"""The tangent random walk: exact moments, the reversal check that it needs, other sections of the same manifold, gates."""

import math
from dataclasses import replace

import pytest
import torch

from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Torus
from topogen.sampling import TangentRandomWalk, Target, run_chains, sample

SHAPE = Torus(1.0, 0.5)


def torus(x):
    return ((x[:, :2].norm(dim=1) - 1) ** 2 + x[:, 2] ** 2 - 0.25).unsqueeze(1)


def overcomplete_torus(x):
    """Distance times its gradient: three outputs of rank one, with zeros of the kept section inside the tube."""
    axis = x[:, :2] / x[:, :2].norm(dim=1, keepdim=True)
    spoke = x - torch.cat([axis, torch.zeros_like(axis[:, :1])], 1)
    length = spoke.norm(dim=1, keepdim=True)
    return spoke / length * (length - 0.5)


class Unchecked:
    """The planted defect: a kernel that forgets its reversal check."""

    def __init__(self, kernel):
        self.kernel, self.begin = kernel, kernel.begin

    def propose(self, state, step, generator):
        proposal = self.kernel.propose(state, step, generator)
        return replace(proposal, irreversible=torch.zeros_like(proposal.irreversible))


def cosines(points):
    return (points[..., :2].norm(dim=-1) - 1) / 0.5


def mean_and_error(values):
    """Mean of (n_steps, n_chains) with the standard error over independent chains."""
    per_chain = values.mean(0)
    return float(per_chain.mean()), float(per_chain.std() / len(per_chain) ** 0.5)


def test_torus_moment_needs_the_reversal_check():
    """E cos phi = .25 within 3 s.e. (false alarm .3 %); without the check the bias (to about .19) is at least 5 s.e."""
    generator = torch.Generator().manual_seed(1)
    kernel = TangentRandomWalk(ImplicitManifold(torus, 2, 3))
    start = SHAPE.sample(1500, generator)
    checked = run_chains(kernel, start, 100, 0.5, generator=generator)
    mean, error = mean_and_error(cosines(checked.points[20:]))
    assert abs(mean - 0.25) < 3 * error
    assert error < 0.012
    assert 0.003 < float(checked.non_reversible.mean()) < 0.05
    assert 0.15 < float(checked.failures.mean()) < 0.55
    biased, error = mean_and_error(cosines(run_chains(Unchecked(kernel), start, 100, 0.5, generator=generator).points[20:]))
    assert biased - 0.25 < -5 * error


@pytest.mark.parametrize("manifold", [ImplicitManifold(overcomplete_torus, 2, 3), SHAPE], ids=["overcomplete", "any manifold"])
def test_other_sections_give_the_same_law(manifold):
    """E cos phi = .25 within 3.9 s.e. (false alarm 1e-4 each)."""
    generator = torch.Generator().manual_seed(2)
    chains = run_chains(TangentRandomWalk(manifold), SHAPE.sample(500, generator), 20, 0.5, generator=generator)
    mean, error = mean_and_error(cosines(chains.points))
    assert abs(mean - 0.25) < 3.9 * error
    assert error < 0.025
    assert float(SHAPE.distance(chains.points[-1]).max()) < 1e-8


def test_a_gate_is_a_wall():
    """Upper half circle: nothing outside, and uniform inside: E y = 2/pi within 3.9 s.e. (false alarm 1e-4)."""
    generator = torch.Generator().manual_seed(5)
    circle = ImplicitManifold(lambda x: x.norm(dim=1, keepdim=True) - 1, 1, 2)
    circle.gate = UpperHalf()
    angle = math.pi * (0.05 + 0.9 * torch.rand(400, generator=generator, dtype=torch.float64))
    chains = run_chains(TangentRandomWalk(circle), torch.stack([angle.cos(), angle.sin()], 1), 200, 0.5, generator=generator)
    assert bool((chains.points[..., 1] > 0).all())
    mean, error = mean_and_error(chains.points[50:, :, 1])
    assert abs(mean - 2 / math.pi) < 3.9 * error


class UpperHalf(torch.nn.Module):
    def forward(self, x, tangent_basis):
        return x[:, 1] > 0


def test_the_ratio_compares_both_ways():
    """log ratio = U(x) - U(y) + (|v|^2 - |w|^2) / (2 h^2), with w the tangent part at y of x - y, whatever the energy."""
    manifold, h = ImplicitManifold(torus, 2, 3), 0.3
    x = SHAPE.sample(100, torch.Generator().manual_seed(6))
    kernel = TangentRandomWalk(manifold, target=Target(manifold, lambda x: x[:, 2], temperature=0.5))
    proposal = kernel.propose(kernel.begin(x), h, torch.Generator().manual_seed(7))
    usable = ~(proposal.failed | proposal.irreversible)
    y = proposal.state[0]
    w = manifold.proju(y, x - y)
    v = h * manifold.proju(x, torch.randn(x.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64))
    truth = 2 * (x - y)[:, 2] + (v.square().sum(1) - w.square().sum(1)) / (2 * h**2)
    assert int(usable.sum()) > 50
    assert torch.allclose(proposal.log_ratio[usable], truth[usable], atol=1e-7)


def test_gradients_are_never_asked_for():
    """An energy that torch cannot differentiate will do, and the tuned step accepts about .6."""

    def energy(x):
        return torch.from_numpy(x.numpy()[:, 2].copy())

    found = sample(SHAPE, energy, start=SHAPE.sample(200), n_steps=10, n_warm_up=60, kernel="random_walk", generator=torch.Generator().manual_seed(8))
    assert 0.4 < float(found.acceptance.mean()) < 0.8
