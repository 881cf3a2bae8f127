"""Hamiltonian Monte Carlo: exact laws from exact starts and from wrong ones, walls, trajectory lengths, options that must not change the law.

Statistical tests have fixed seeds; each bounds |z| by 3.9 (false alarm 1e-4) unless it says otherwise.
"""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.sampling import HamiltonianMonteCarlo, Target, run_chains, warm_up
from topogen.sampling.chains import Proposal

SPHERE = ImplicitManifold(lambda x: (x.square().sum(1, keepdim=True) - 1) / 2, 2, 3)
TORUS = ImplicitManifold(lambda x: ((x[:, :2].norm(dim=1) - 1) ** 2 + x[:, 2] ** 2 - 0.25).unsqueeze(1), 2, 3)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def on_sphere(n, generator):
    return torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64), dim=1)


def on_torus(theta, phi):
    return torch.stack([(1 + phi.cos() / 2) * theta.cos(), (1 + phi.cos() / 2) * theta.sin(), phi.sin() / 2], 1)


def angles(x):
    return torch.atan2(x[..., 1], x[..., 0]), torch.atan2(x[..., 2], x[..., :2].norm(dim=-1) - 1)


def readme_energy(x):
    """Density (1 + .9 sin 4 theta cos phi) / (1 + .5 cos phi) against the area: in the angles (1 + .9 sin 4 theta cos phi) / (4 pi^2)."""
    theta, phi = angles(x)
    return -torch.log1p(0.9 * (4 * theta).sin() * phi.cos()) + torch.log1p(phi.cos() / 2)


def readme_sample(n, generator):
    """By rejection from uniform angles."""
    theta, phi, u = torch.rand(3, 3 * n, generator=generator, dtype=torch.float64)
    theta, phi = 2 * math.pi * theta, 2 * math.pi * phi
    kept = 1.9 * u < 1 + 0.9 * (4 * theta).sin() * phi.cos()
    return on_torus(theta[kept][:n], phi[kept][:n])


def z_score(values, truth):
    """Of (n_steps, n_chains), the standard error over independent chains."""
    per_chain = values.mean(0)
    return float((per_chain.mean() - truth) / (per_chain.std() / len(per_chain) ** 0.5))


def hmc(target, length=1.0, **options):
    return HamiltonianMonteCarlo(target.manifold, target=target, length=length, **options)


@pytest.mark.parametrize("exact", [True, False], ids=["exact start", "uniform angles, warmed up"])
def test_readme_density_on_the_torus(exact):
    """E sin 4 theta cos phi = .225, E cos phi = 0, theta and phi uniform (first two harmonics)."""
    generator = seeded(1)
    start = readme_sample(1500, generator) if exact else on_torus(*(2 * math.pi * torch.rand(2, 1500, generator=generator, dtype=torch.float64)))
    found = run_chains(hmc(Target(TORUS, readme_energy)), start, 25 if exact else 45, 0.25, generator=generator)
    theta, phi = angles(found.points if exact else found.points[20:])
    assert float(found.acceptance.mean()) > 0.5
    assert abs(z_score((4 * theta).sin() * phi.cos(), 0.225)) < 3.9
    for values in (phi.cos(), phi.sin(), (2 * phi).cos(), theta.cos(), theta.sin(), (2 * theta).cos(), (2 * theta).sin()):
        assert abs(z_score(values, 0.0)) < 3.9


@pytest.mark.parametrize(
    "options",
    [{"mass": 0.5}, {"mass": 3.0}, {"inner": 3}, {"length": 0.6}, {"length": 2.5}],
    ids=["light", "heavy", "inner steps", "short", "long"],
)
def test_options_do_not_change_the_law(options):
    """von Mises-Fisher, kappa = 3, from a uniform start: E z = coth 3 - 1/3."""
    generator = seeded(2)
    target = Target(SPHERE, lambda x: -3 * x[:, 2])
    step = 0.2 * options.get("mass", 1.0) ** 0.5
    found = run_chains(hmc(target, **{"length": 6 * step, **options}), on_sphere(600, generator), 24, step, generator=generator)
    assert abs(z_score(found.points[12:, :, 2], 1 / math.tanh(3) - 1 / 3)) < 3.9
    assert float(found.acceptance.mean()) > 0.8


@pytest.mark.parametrize("reflect", [True, False])
def test_walls_agree_with_quadrature(reflect):
    """Sphere within x > 0, y > -.2 and z > .1, energy -2 z + y, against a sum over a grid (error 1e-4)."""
    generator = seeded(3)

    def walls(x):
        return x - torch.tensor([0, -0.2, 0.1], dtype=torch.float64)

    grid = (torch.arange(1500, dtype=torch.float64) + 0.5) / 1500
    z, a = (2 * grid - 1).unsqueeze(1), (2 * math.pi * grid).unsqueeze(0)
    fine = torch.stack([(1 - z**2).sqrt() * a.cos(), (1 - z**2).sqrt() * a.sin(), z.expand(1500, 1500)], -1).reshape(-1, 3)
    weight = (2 * fine[:, 2] - fine[:, 1]).exp() * (walls(fine) > 0).all(1)
    truth = (weight.unsqueeze(1) * fine).sum(0) / weight.sum()

    target = Target(SPHERE, lambda x: -2 * x[:, 2] + x[:, 1], walls=walls)
    x = on_sphere(20000, generator)
    start = x[(walls(x) > 0.05).all(1)][:500]
    found = run_chains(hmc(target, 1.2, reflect=reflect), start, 30, 0.2, generator=generator)
    assert bool((walls(found.points.reshape(-1, 3)) >= 0).all())
    for k in range(3):
        assert abs(z_score(found.points[10:, :, k], float(truth[k]))) < 3.9
    acceptance = float(found.acceptance.mean())
    assert acceptance > 0.75 if reflect else 0.1 < acceptance < 0.4


def orthogonal(n):
    rows, columns = torch.triu_indices(n, n)

    def constraint(x):
        matrix = x.reshape(-1, n, n)
        return (matrix @ matrix.mT - torch.eye(n, dtype=x.dtype))[:, rows, columns]

    return ImplicitManifold(constraint, n * (n - 1) // 2, n * n)


def test_rotations_in_dimension_four():
    """SO(4): E tr = 0, E tr^2 = 1, E tr^4 = 4 (Haar); started near the identity, and no chain crosses to det < 0."""
    generator = seeded(4)
    skew = 0.3 * torch.randn(500, 4, 4, generator=generator, dtype=torch.float64)
    start = torch.linalg.matrix_exp(skew - skew.mT).reshape(-1, 16)
    group = orthogonal(4)
    found = run_chains(hmc(Target(group), 3.0), start, 18, 0.5, generator=generator)
    matrices = found.points[10:].reshape(-1, 4, 4)
    assert float(torch.linalg.det(matrices).min()) > 0.999
    trace = matrices.diagonal(dim1=1, dim2=2).sum(1).reshape(8, -1)
    for power, truth in ((1, 0.0), (2, 1.0), (4, 4.0)):
        assert abs(z_score(trace**power, truth)) < 3.9
    assert float(group.kept_residual(found.points[-1]).max()) <= 1e-9


def test_lengths_are_drawn_up_to_twice_the_given_one_and_at_most_100_steps():
    kernel = hmc(Target(SPHERE), 1.0)
    generator = seeded(5)
    drawn = [kernel._draw_steps(0.1, generator) for _ in range(2000)]
    assert set(drawn) == set(range(1, 21))
    assert abs(sum(drawn) / 2000 - 10.5) < 3.9 * math.sqrt((20**2 - 1) / 12 / 2000)
    assert max(hmc(Target(SPHERE), 1e6)._draw_steps(0.1, generator) for _ in range(20)) == 100
    assert kernel.length == 1.0, "a given length is kept"


def test_the_warm_up_tunes_the_length_and_the_run_keeps_it():
    """A narrow curved valley wants longer trajectories than the first guess of four steps, a single well shorter ones than its round trip."""
    generator = seeded(6)
    kernel = HamiltonianMonteCarlo(SPHERE, lambda x: -8 * x[:, 2])
    points, step = warm_up(kernel, on_sphere(100, generator), 0.2, 80, generator=generator)
    tuned = kernel.length
    assert 0.2 < tuned < 3.0, "the well's quarter period is pi / (2 sqrt 8) = .56"
    found = run_chains(kernel, points, 10, step, generator=generator)
    assert kernel.length == tuned
    assert 0.55 < float(found.acceptance.mean()) <= 1
    given = hmc(Target(SPHERE, lambda x: -8 * x[:, 2]), 0.7)
    warm_up(given, on_sphere(50, generator), 0.2, 20, generator=generator)
    assert given.length == 0.7


def test_adapting_to_nothing_changes_nothing():
    kernel = HamiltonianMonteCarlo(SPHERE)
    x = on_sphere(5, seeded(7))
    state = kernel.begin(x)
    silent = Proposal(state, torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool))
    kernel.adapt(state, silent, 0.1)
    assert kernel.length is None, "no velocity, no step"
    proposal = kernel.propose(state, 0.1, seeded(8))
    length = kernel.length
    lost = Proposal(proposal.state, proposal.log_ratio, torch.ones(5, dtype=torch.bool), proposal.irreversible, None, None, proposal.velocity)
    kernel.adapt(state, lost, 0.1)
    assert kernel.length == length, "chains that all failed have no slope"


def test_proposals_carry_energy_and_velocity():
    kernel = hmc(Target(SPHERE, lambda x: x[:, 0]), mass=2.0)
    x = on_sphere(50, seeded(9))
    proposal = kernel.propose(kernel.begin(x), 0.1, seeded(10))
    assert proposal.energy.shape == (50,) and proposal.diverged.dtype == torch.bool
    kinetic = proposal.energy - x[:, 0]
    assert bool((kinetic > 0).all())
    assert 0.6 < float(kinetic.mean()) < 1.5, "d / 2 = 1 on average, whatever the mass"
    assert torch.allclose(SPHERE.proju(proposal.state[0], proposal.velocity), proposal.velocity, atol=1e-9)


@pytest.mark.parametrize("options", [{"mass": 0.0}, {"mass": math.inf}, {"inner": 0}, {"length": 0.0}, {"length": -1.0}, {"length": math.nan}])
def test_bad_options_are_named(options):
    with pytest.raises(InvalidInputError, match="length, inner, mass"):
        HamiltonianMonteCarlo(SPHERE, **options)
