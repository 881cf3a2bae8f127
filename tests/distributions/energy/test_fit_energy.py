"""Learned energies: the mean of the data, a small divergence, the weights of components, and the same bits again."""

import math

import pytest
import torch
from torch.distributions import VonMises

from topogen.distributions.energy.correction_network import CorrectionNetwork
from topogen.distributions.energy.fit import fit_energy
from topogen.errors import InvalidInputError
from topogen.manifolds.shapes import Circle, Sphere, TwoSpheres
from topogen.training.trainer import Settings

FAST = Settings(steps=100, batch_size=256, rate=1e-3, measure_every=50)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def von_mises(n: int) -> torch.Tensor:
    """n points of the circle with density exp(2 cos) / (2 pi I0(2)), by rejection."""
    generator = seeded(0)
    angle = 2 * math.pi * torch.rand(20 * n, generator=generator, dtype=torch.float64)
    kept = angle[torch.rand(20 * n, generator=generator, dtype=torch.float64).log() < 2 * (angle.cos() - 1)][:n]
    return torch.stack([kept.cos(), kept.sin()], 1)


def test_von_mises_is_learned_with_the_mean_of_its_data():
    data = von_mises(1000)
    fitted = fit_energy(data, Circle(), settings=FAST, generator=seeded(1), quiet=True)
    angle = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * 2 * math.pi
    density = fitted.distribution.log_prob(torch.stack([angle.cos(), angle.sin()], 1))
    truth = VonMises(torch.zeros((), dtype=torch.float64), torch.full((), 2.0, dtype=torch.float64)).log_prob(angle)
    weight = 2 * math.pi / 4000
    assert float(density.exp().sum()) * weight == pytest.approx(1, abs=0.01)
    assert float((truth.exp() * (truth - density)).sum()) * weight <= 0.02
    assert float((density.exp() * angle.cos()).sum()) * weight == pytest.approx(float(data[:, 0].mean()), rel=0.01)
    assert "kernels" in fitted.notes[0]


def test_components_keep_the_shares_of_the_data():
    """200 and 600 points on two spheres: the share of the samples within 4 standard errors (false alarm 6e-5)."""
    points = TwoSpheres().sample(2000, seeded(2))
    left, right = points[points[:, 0] < 0][:200], points[points[:, 0] > 0][:600]
    fitted = fit_energy(torch.cat([left, right]), TwoSpheres(), settings=FAST, generator=seeded(3), quiet=True)
    drawn = fitted.distribution.sample((4000,), generator=seeded(4))
    assert abs(float((drawn[:, 0] < 0).double().mean()) - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5 + 0.01


def test_same_seed_same_bits_and_too_few_points_are_named():
    data = Sphere().sample(100, seeded(5))
    first, second = (fit_energy(data, Sphere(), settings=FAST, generator=seeded(6), quiet=True).distribution for _ in range(2))
    assert torch.equal(first.log_prob(data), second.log_prob(data))
    with pytest.raises(InvalidInputError, match="at least 20"):
        fit_energy(data[:10], Sphere())


def test_a_number_of_steps_alone_keeps_the_rate_of_energies():
    data = Sphere().sample(60, seeded(5))
    first, second = (
        fit_energy(data, Sphere(), settings=settings, generator=seeded(6), quiet=True).distribution.log_prob(data)
        for settings in (Settings(steps=20), Settings(steps=20, rate=1e-3, measure_every=50))
    )
    assert torch.equal(first, second)


def test_the_correction_is_bounded_and_follows_the_dtype():
    network = CorrectionNetwork(torch.zeros(3), 1.0, bound=2.0, generator=seeded(7))
    with torch.no_grad():
        network.linear.fill_(50.0)
    out = network(torch.randn(100, 3, generator=seeded(8), dtype=torch.float64))
    assert out.dtype == torch.float64 and float(out.detach().abs().max()) <= 2.0
