"""Walk and kernel volume: agreement with the tube, components weighted by volume, biased chains caught."""

from __future__ import annotations

import math

import pytest
import torch
from constraints import rotations, torus
from torch import Tensor

from topogen.distributions import Uniform
from topogen.distributions.uniform.kernel_volume import kernel_volume
from topogen.distributions.uniform.mcmc import markov_chains_from
from topogen.errors import InvalidInputError, ProjectionError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Torus

SHAPE = Torus(1.0, 0.5)


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def orthogonal(n: int, generator: torch.Generator) -> Tensor:
    """n orthogonal matrices, one in ten with determinant -1."""
    matrix = torch.linalg.qr(torch.randn(n, 3, 3, generator=generator, dtype=torch.float64)).Q
    matrix = matrix * torch.linalg.det(matrix).sign()[:, None, None]
    matrix[::10, :, 0] *= -1
    return matrix.reshape(n, 9)


def test_walk_and_tube_agree_on_the_torus() -> None:
    """Volumes within 3.5 s.e. of each other and of 2 pi^2; E cos phi = .25 within 3.3 s.e. (false alarm .1 %)."""
    manifold, points = ImplicitManifold(torus, 2, 3), SHAPE.sample(300, seed(0))
    walked = markov_chains_from(manifold, points, seed(1), chains=700, pool_size=1400)
    volume, tube = walked.volume(), Uniform(manifold, points=points, generator=seed(2)).volume
    assert abs(volume.value - tube.value) < 3.5 * math.hypot(volume.standard_error, tube.standard_error)
    assert abs(volume.value - 2 * math.pi**2) < 3.5 * volume.standard_error
    assert volume.standard_error < 0.04 * volume.value
    assert "kernel" in volume.method
    cosine = (walked.sample(1000, seed(3))[:, :2].norm(dim=1) - 1) / 0.5
    assert abs(float(cosine.mean()) - 0.25) < 3.3 * float(cosine.std()) / 1000**0.5


def test_rotations_two_components_from_a_lopsided_start() -> None:
    """O(3) in R^9, 2 * 8 pi^2 * 2^(3/2): within 3.5 s.e.; one start in ten has determinant -1, half of the samples must, up to its error."""
    manifold = ImplicitManifold(rotations, 3, 9)
    walked = markov_chains_from(manifold, orthogonal(200, seed(0)), seed(1), chains=400, pool_size=1200)
    volume = walked.volume()
    assert len(walked.volumes) == 2
    assert abs(volume.value - 16 * math.pi**2 * 2**1.5) < 3.5 * volume.standard_error
    assert volume.standard_error < 0.08 * volume.value
    x = walked.sample(300, seed(2))
    share = float((torch.linalg.det(x.reshape(-1, 3, 3)) > 0).double().mean())
    assert abs(share - 0.5) < 0.08
    assert float(manifold.kept_residual(x).max()) < 1e-9


def test_kernel_volume_of_independent_points() -> None:
    """Torus, and a unit square whose rim is left out of the centres: within 3.5 s.e. (false alarm .05 % each); with the rim it is caught."""
    whole = kernel_volume(SHAPE.sample(4000, seed(0)).reshape(20, 200, 3), 2, 0.4, seed(1))
    assert abs(whole.value - 2 * math.pi**2) < 3.5 * whole.standard_error
    square = torch.rand(20, 150, 3, generator=seed(2), dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    interior = ((square[..., :2] - 0.5).abs() < 0.2).all(-1)
    cut = kernel_volume(square, 2, 0.3, seed(1), interior=interior)
    assert abs(cut.value - 1) < 3.5 * cut.standard_error
    careless = kernel_volume(square, 2, 0.3, seed(1))
    assert careless.value - 1 > 3.5 * careless.standard_error


def test_points_that_are_not_uniform_are_caught() -> None:
    """The planted defect: projected ambient noise instead of a walk is denser outside; the kernel estimate falls by more than 3.5 s.e."""
    angle = 2 * math.pi * torch.rand(4000, 2, generator=seed(0), dtype=torch.float64)
    rho = 1 + 0.5 * angle[:, 1].cos()
    flat = torch.stack([rho * angle[:, 0].cos(), rho * angle[:, 0].sin(), 0.5 * angle[:, 1].sin()], 1)
    estimate = kernel_volume(flat.reshape(20, 200, 3), 2, 0.4, seed(1))
    assert 2 * math.pi**2 - estimate.value > 3.5 * estimate.standard_error


def test_bad_input_is_named() -> None:
    manifold = ImplicitManifold(rotations, 3, 9)
    with pytest.raises(InvalidInputError, match="points"):
        Uniform(manifold)
    with pytest.raises(InvalidInputError, match="chains"):
        kernel_volume(torch.zeros(3, 2, 3, dtype=torch.float64), 2, 0.1, seed(0))
    with pytest.raises(ProjectionError):
        markov_chains_from(SHAPE, torch.zeros(3, 3, dtype=torch.float64), seed(0))
