"""Constrained Langevin: one RATTLE step per proposal, Euler's scheme for small steps, and the exact law for large ones."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.sampling import ConstrainedLangevin, Target, run_chains
from topogen.sampling.kernels.rattle import Rattle

SPHERE = ImplicitManifold(lambda x: (x.square().sum(1, keepdim=True) - 1) / 2, 2, 3)


def tilt(x):
    return -3 * x[:, 2]


def on_sphere(n, generator):
    return torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64), dim=1)


def test_a_proposal_is_one_rattle_step():
    x = on_sphere(20, torch.Generator().manual_seed(0))
    kernel, rattle = ConstrainedLangevin(SPHERE, tilt), Rattle(SPHERE, Target(SPHERE, tilt))
    one = kernel.propose(kernel.begin(x), 0.3, torch.Generator().manual_seed(1))
    two = rattle.propose(rattle.begin(x), 0.3, 1, torch.Generator().manual_seed(1))
    assert torch.equal(one.state[0], two.state[0]) and torch.equal(one.log_ratio, two.log_ratio)


def test_small_steps_follow_the_langevin_equation():
    """From one point, dt = h^2 / 2: mean displacement -P grad E dt + dt H (mean curvature, Ito), covariance 2 dt P; |z| < 3.9 (false alarm 1e-4 each)."""
    n, h = 40000, 0.1
    x = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64).expand(n, 3).contiguous()
    kernel = ConstrainedLangevin(SPHERE, tilt)
    proposal = kernel.propose(kernel.begin(x), h, torch.Generator().manual_seed(2))
    moved = proposal.state[0] - x
    dt = h**2 / 2
    projector = torch.eye(3, dtype=torch.float64) - x[0].outer(x[0])
    drift = (projector @ torch.tensor([0, 0, 3.0], dtype=torch.float64) - 2 * x[0]) * dt
    z = (moved.mean(0) - drift) / (moved.std(0) / n**0.5)
    assert float(z.abs().max()) < 3.9 + 0.5, "half a standard error is granted to the next order in h"
    assert torch.allclose(moved.T.cov(), 2 * dt * projector, atol=0.05 * dt)
    assert float(proposal.log_ratio.abs().mean()) < 0.01


def test_long_steps_have_the_exact_law():
    """E z = coth 3 - 1/3 from a uniform start, step .4 with a tenth of the proposals lost or refused; |z| < 3.9."""
    generator = torch.Generator().manual_seed(3)
    found = run_chains(ConstrainedLangevin(SPHERE, tilt), on_sphere(1500, generator), 70, 0.4, generator=generator)
    per_chain = found.points[30:, :, 2].mean(0)
    error = float(per_chain.std() / len(per_chain) ** 0.5)
    assert abs(float(per_chain.mean()) - (1 / math.tanh(3) - 1 / 3)) < 3.9 * error
    assert error < 0.005 and float(found.acceptance.mean()) < 0.97


def test_walls_reject():
    generator = torch.Generator().manual_seed(4)
    target = Target(SPHERE, walls=lambda x: x[:, 2])
    x = on_sphere(900, generator)
    start = torch.cat([x[:, :2], x[:, 2:].abs()], 1)
    found = run_chains(ConstrainedLangevin(SPHERE, target=target), start, 15, 0.6, generator=generator)
    assert float(found.points[..., 2].min()) >= 0
    per_chain = found.points[..., 2].mean(0)
    assert abs(float(per_chain.mean()) - 0.5) < 3.9 * float(per_chain.std() / len(per_chain) ** 0.5), "Archimedes: z is uniform on (0, 1)"


def test_energies_without_gradient_are_refused():
    kernel = ConstrainedLangevin(SPHERE, lambda x: torch.from_numpy(x.detach().numpy()[:, 0].copy()))
    with pytest.raises(InvalidInputError, match="energy: not differentiable.*random_walk"):
        kernel.begin(on_sphere(3, torch.Generator().manual_seed(5)))
