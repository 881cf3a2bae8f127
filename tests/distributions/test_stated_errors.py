"""What densities state must hold: bounds of energies, errors of normalisers, exactness of draws, gradients, and whose network it is."""

import math
import warnings

import pytest
import torch

from topogen.distributions import Energy, TangentKernels, Thickened, Uniform
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.distributions.flow.flow import FlowMatching
from topogen.distributions.uniform.rejection import Mass, rejection_sample
from topogen.errors import InvalidInputError, NormalizerError, NotSupportedError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Circle, Sphere


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Bounded(torch.nn.Module):
    def __init__(self, slope, bound):
        super().__init__()
        self.slope, self.bound = slope, bound

    def forward(self, x):
        return self.slope * x[:, 0]


@pytest.mark.parametrize(("slope", "bound"), [(3.0, 0.1), (3.0, 2.9), (-1.0, 0.5)])
def test_a_bound_that_is_exceeded_is_an_error(slope, bound):
    with pytest.raises(InvalidInputError, match="bound"):
        Energy(Circle(), Bounded(slope, bound), tilt=True, seed=0).sample((1000,), seeded(0))


@pytest.mark.parametrize("bound", [3.0, 3.5])
def test_a_bound_that_holds_draws_the_law(bound):
    x = Energy(Circle(), Bounded(3.0, bound), tilt=True, seed=0).sample((4000,), seeded(0))
    # E x of the von Mises law: -I_1(3) / I_0(3).
    assert abs(float(x[:, 0].mean()) + 0.8100) < 5 * float(x[:, 0].std()) / 4000**0.5


def test_draws_under_a_hopeless_bound_end():
    with pytest.raises(NormalizerError, match="smaller bound"):
        Energy(Circle(), Bounded(0.0, 60.0), tilt=True, seed=0).sample((5,), seeded(0))


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_log_z_carries_the_error_of_the_volume(factor):
    def ellipsoid(x):
        return (x * x.new_tensor([1.0, 0.8, 0.5]) / factor).square().sum(-1, keepdim=True) - 1

    energy = Energy(ImplicitManifold(ellipsoid, 2, 3, scale=factor), lambda x: 0 * x[:, 0], seed=0)
    volume, log_z = energy.proposal.volume, energy.log_normalizer()
    assert volume.standard_error > 0
    assert math.isclose(log_z.value, math.log(volume.value), rel_tol=1e-9)
    assert math.isclose(log_z.standard_error, volume.standard_error / volume.value, rel_tol=1e-6)


def heavy(n, generator):
    """Uniform u with weight 1, one in fifty with weight 100."""
    u = torch.rand(n, 1, dtype=torch.float64, generator=generator)
    return u, torch.where(u[:, 0] < 0.02, 100.0, 1.0).double()


def test_clipped_mass_is_told():
    with pytest.warns(RuntimeWarning, match="of the mass out"):
        rejection_sample(heavy, 2000, 1.0, torch.zeros(0, 1, dtype=torch.float64), seeded(0), rate=0.5, failure="")
    mass = Mass(1.0)
    mass.add(heavy(100_000, seeded(1))[1])
    # .02 * 99 of .98 + .02 * 100
    assert abs(mass.clipped - 1.98 / 2.98) < 0.02
    assert "mass" in mass.words()


def test_nothing_is_told_where_nothing_is_clipped():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rejection_sample(heavy, 500, 100.0, torch.zeros(0, 1, dtype=torch.float64), seeded(0), rate=0.5, failure="")
    assert Mass(1.0).words() == "" and Mass(1.0).clipped == 0


def test_gradients_of_an_energy_are_those_of_its_density():
    p = Energy(Sphere(2), lambda x: (2 * x[:, 0]).sin() + x[:, 1] * x[:, 2], seed=0)
    x = (1.2 * Sphere(2).sample(3, seeded(1))).requires_grad_(True)
    assert torch.autograd.gradcheck(p.log_prob, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(p.log_prob, (x,))


def test_densities_without_a_gradient_say_so():
    kernels = TangentKernels(Circle(), Circle().sample(30, seeded(0)), torch.tensor([0.3]).double(), torch.ones(1).double(), 1.0)
    for p in (kernels, Thickened(Uniform(Circle()), 0.05), Energy(Circle(), lambda x: x[:, 0], proposal=kernels, tilt=True, seed=0)):
        x = Circle().sample(4, seeded(1)).requires_grad_(True)
        value = p.log_prob(x)
        assert value.requires_grad, type(p).__name__
        with pytest.raises(NotSupportedError, match="log_prob"):
            torch.autograd.grad(value.sum(), x)


def test_a_uniform_density_has_the_gradient_zero():
    x = Sphere(2).sample(4, seeded(0)).requires_grad_(True)
    assert torch.equal(torch.autograd.grad(Uniform(Sphere(2)).log_prob(x).sum(), x)[0], torch.zeros_like(x))


def test_a_density_leaves_the_network_of_its_caller_to_train():
    network = FieldNetwork(torch.zeros(2), 1.0, generator=seeded(0))
    base = type("Ground", (), {"ground": type("Sampled", (), {"manifold": Circle(), "fast": Circle()})()})()
    flow = FlowMatching(base, network)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(parameter.requires_grad for parameter in flow.field.parameters())
