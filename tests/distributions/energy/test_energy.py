"""exp(-E) on a manifold: closed-form normalisers, samples, and normalisers that must not be believed."""

import math

import pytest
import torch

from topogen.distributions import Energy, Uniform
from topogen.distributions.energy.tangent_kernels import fit_kernels
from topogen.errors import InvalidInputError, NormalizerError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Circle, Sphere

KAPPA = 3.0
LOG_Z = math.log(4 * math.pi * math.sinh(KAPPA) / KAPPA)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def north(x: torch.Tensor) -> torch.Tensor:
    return -KAPPA * x[:, 2]


@pytest.mark.parametrize("manifold", [Sphere(), ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 2, 3)], ids=["shape", "implicit"])
def test_von_mises_fisher_has_its_normaliser(manifold):
    """log Z = log(4 pi sinh k / k) within 4 standard errors and 1 % (false alarm 6e-5)."""
    found = Energy(manifold, north, seed=0).log_normalizer()
    assert abs(found.value - LOG_Z) < 4 * found.standard_error + 0.01
    assert found.standard_error < 0.01


def test_log_prob_is_normalised_and_judges_projections():
    density = Energy(Sphere(), north, seed=1)
    x = Sphere().sample(20_000, seeded(2))
    assert float(density.log_prob(x).exp().mean()) * 4 * math.pi == pytest.approx(1, abs=0.04)
    assert torch.allclose(density.log_prob(2 * x[:5]), density.log_prob(x[:5]))
    assert float(density.log_prob(torch.zeros(1, 3, dtype=torch.float64))) == -math.inf
    assert float(density.entropy()) == pytest.approx(LOG_Z - KAPPA * (1 / math.tanh(KAPPA) - 1 / KAPPA), abs=0.02)


def test_samples_have_the_mean():
    """E z = coth k - 1/k within 4 standard errors (false alarm 6e-5)."""
    z = Energy(Sphere(), north, seed=3).sample((4000,), generator=seeded(4))[:, 2]
    assert abs(float(z.mean()) - (1 / math.tanh(KAPPA) - 1 / KAPPA)) < 4 * float(z.std()) / 4000**0.5


class _Bounded:
    bound = 1.0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return -x[:, 0]


def test_a_tilt_of_kernels_is_drawn_by_rejection_and_normalised():
    """Tilting the uniform distribution on the circle by x: E x = I1(1) / I0(1) = .4464 (4 standard errors, false alarm 6e-5)."""
    uniform = Uniform(Circle())
    tilted = Energy(Circle(), _Bounded(), proposal=uniform, tilt=True, seed=5)
    x = tilted.sample((4000,), generator=seeded(6))[:, 0]
    assert abs(float(x.mean()) - 0.4464) < 4 * float(x.std()) / 4000**0.5
    kernels = fit_kernels(Circle(), Circle().sample(100, seeded(7)), uniform=uniform, generator=seeded(8))
    density = Energy(Circle(), _Bounded(), proposal=kernels, tilt=True, seed=9)
    grid = torch.arange(4000, dtype=torch.float64) * 2 * math.pi / 4000
    total = density.log_prob(torch.stack([grid.cos(), grid.sin()], 1)).exp().mean() * 2 * math.pi
    assert float(total) == pytest.approx(1, abs=0.01)


def test_a_normaliser_that_misses_the_density_is_refused():
    """A spike of 1e-3: the uniform draws that hit it are too few to be believed, kernels around it are not."""
    top = torch.tensor([0.0, 0, 1], dtype=torch.float64)

    def spike(x: torch.Tensor) -> torch.Tensor:
        return (x - top).square().sum(1) / 2e-6

    with pytest.raises(NormalizerError, match="proposal nearer"):
        Energy(Sphere(), spike, seed=0).log_normalizer(n=20_000, generator=seeded(1))
    around = top + 1e-3 * torch.randn(60, 3, generator=seeded(2), dtype=torch.float64)
    kernels = fit_kernels(Sphere(), around / around.norm(dim=1, keepdim=True), uniform=Uniform(Sphere()), generator=seeded(3))
    found = Energy(Sphere(), spike, proposal=kernels, seed=4).log_normalizer(n=5000, generator=seeded(5))
    assert found.value == pytest.approx(math.log(2 * math.pi * 1e-6), abs=0.1)


@pytest.mark.parametrize(
    ("energy", "message"),
    [(lambda x: x, "shape"), (lambda x: x[:, 0] * math.nan, "NaN"), (lambda x: 3.0, "shape"), (lambda x: torch.arange(len(x)), "floating")],
)
def test_bad_energies_are_named(energy, message):
    with pytest.raises(InvalidInputError, match=message):
        Energy(Circle(), energy, seed=0).log_normalizer()


def test_same_seed_same_bits():
    first, second = (Energy(Sphere(), north, seed=7).sample((50,), generator=seeded(8)) for _ in range(2))
    assert torch.equal(first, second)
