"""The sampler laws hold for every kernel and catch planted defects: a suite that passes everything proves nothing.

Statistical laws have fixed seeds and a false-alarm rate of 1e-4 each.
"""

import math
from dataclasses import replace

import pytest
import torch

from topogen.errors import NotSupportedError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Torus
from topogen.sampling import ConstrainedLangevin, HamiltonianMonteCarlo, TangentRandomWalk, Target
from topogen.testing import SamplerLaws, rank_p_values

SHAPE = Torus(1.0, 0.5)
KAPPA = 3.0


def spokes(x):
    """From the core circle of the torus to the points x."""
    ring = x[:, :2] / x[:, :2].norm(dim=1, keepdim=True)
    return x - torch.cat([ring, torch.zeros_like(ring[:, :1])], 1)


def overcomplete(x):
    spoke = spokes(x)
    length = spoke.norm(dim=1, keepdim=True)
    return spoke / length * (length - 0.5)


TORUS = ImplicitManifold(lambda x: spokes(x).square().sum(1, keepdim=True) - 0.25, 2, 3)
SPHERE = ImplicitManifold(lambda x: (x.square().sum(1, keepdim=True) - 1) / 2, 2, 3)
ELLIPSE = ImplicitManifold(lambda x: (x[:, :1] ** 2 / 9 + x[:, 1:] ** 2 - 1) / 2, 1, 2)


def pull(x):
    return -KAPPA * x[:, 2]


def von_mises_fisher(n, generator):
    """Density proportional to exp(kappa z) on the sphere: z by inversion, the angle uniform."""
    u, angle = torch.rand(2, n, generator=generator, dtype=torch.float64)
    z = 1 + (u + (1 - u) * math.exp(-2 * KAPPA)).log() / KAPPA
    rho, angle = (1 - z**2).sqrt(), 2 * math.pi * angle
    return torch.stack([rho * angle.cos(), rho * angle.sin(), z], 1)


def on_ellipse(angle):
    return torch.stack([3 * angle.cos(), angle.sin()], 1)


def uniform_in_length(n, generator):
    """The arc length of the ellipse inverted on a grid: error 1e-7."""
    grid = torch.linspace(0, 2 * math.pi, 20001, dtype=torch.float64)
    length = torch.cumulative_trapezoid((9 * grid.sin() ** 2 + grid.cos() ** 2).sqrt(), grid)
    at = torch.rand(n, generator=generator, dtype=torch.float64) * length[-1]
    k = torch.searchsorted(length, at).clamp(1, len(length) - 1)
    share = (at - length[k - 1]) / (length[k] - length[k - 1])
    return on_ellipse(grid[k] + share * (grid[k + 1] - grid[k]))


def uniform_in_angle(n, generator):
    """The co-area law of ELLIPSE: |gradient| is a third of the speed of the angle."""
    return on_ellipse(2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64))


def hmc(target, **options):
    return HamiltonianMonteCarlo(target.manifold, target=target, length=1.5, **options)


def langevin(target):
    return ConstrainedLangevin(target.manifold, target=target)


def walk(target):
    return TangentRandomWalk(target.manifold, target=target)


class OnTorus(SamplerLaws):
    step = 1.0
    make = staticmethod(walk)

    def manifold(self):
        return TORUS

    def kernel(self):
        return self.make(Target(self.manifold()))

    def exact_sample(self, n, generator):
        return SHAPE.sample(n, generator)

    def moments(self, points):
        """Cosine and sine of both angles and the fourth harmonic that README examples are made of."""
        spoke = spokes(points)
        theta = torch.atan2(points[:, 1], points[:, 0])
        phi = torch.atan2(spoke[:, 2], points[:, :2].norm(dim=1) - 1)
        return torch.stack([theta.cos(), theta.sin(), phi.cos(), phi.sin(), (2 * phi).cos(), (4 * theta).sin() * phi.cos()], 1)

    def expectations(self):
        return torch.tensor([0, 0, 0.25, 0, 0, 0], dtype=torch.float64)


class TestWalkOnTorus(OnTorus):
    pass


class TestHmcOnTorus(OnTorus):
    """Mass and inner steps change the motion, not the law."""

    make = staticmethod(lambda target: hmc(target, mass=2.0, inner=2))


class TestWalkOnOvercompleteTorus(OnTorus):
    step = 0.6
    n = 1500

    def manifold(self):
        return ImplicitManifold(overcomplete, 2, 3)


class TestWalkOnAnyManifold(OnTorus):
    """A manifold without a constraint, known by its projection."""

    step = 0.6
    n = 1500

    def manifold(self):
        return SHAPE


class TiltedSphere(SamplerLaws):
    """E z = coth kappa - 1 / kappa, E z^2 = 1 - 2 E z / kappa."""

    make = staticmethod(walk)

    def manifold(self):
        return SPHERE

    def kernel(self):
        return self.make(Target(SPHERE, pull))

    def exact_sample(self, n, generator):
        return von_mises_fisher(n, generator)

    def moments(self, points):
        return torch.stack([points[:, 0], points[:, 2], points[:, 2] ** 2, points[:, 0] ** 2 - points[:, 1] ** 2], 1)

    def expectations(self):
        mean = 1 / math.tanh(KAPPA) - 1 / KAPPA
        return torch.tensor([0, mean, 1 - 2 * mean / KAPPA, 0], dtype=torch.float64)


class TestWalkOnTiltedSphere(TiltedSphere):
    step = 0.8


class TestLangevinOnTiltedSphere(TiltedSphere):
    make = staticmethod(langevin)
    step = 0.8


class TestHmcOnTiltedSphere(TiltedSphere):
    make = staticmethod(hmc)
    step = 0.6


class TestTemperature(TiltedSphere):
    """exp(-2 E / 2) is exp(-E)."""

    step = 0.8

    def kernel(self):
        return langevin(Target(SPHERE, lambda x: 2 * pull(x), temperature=2.0))


class EllipseByLength(SamplerLaws):
    """E x^2 = 3.476 against the length; see `EllipseByCoarea`."""

    measure = "hausdorff"
    make = staticmethod(walk)
    step = 1.0

    def manifold(self):
        return ELLIPSE

    def kernel(self):
        return self.make(Target(ELLIPSE, measure=self.measure))

    def exact_sample(self, n, generator):
        return uniform_in_length(n, generator)

    def moments(self, points):
        return torch.cat([points, points[:, :1] ** 2, points[:, :1] * points[:, 1:]], 1)


class EllipseByCoarea(EllipseByLength):
    """E x^2 = 4.5 for the law of an ambient density conditioned on F = 0."""

    measure = "coarea"

    def exact_sample(self, n, generator):
        return uniform_in_angle(n, generator)

    def expectations(self):
        return torch.tensor([0, 0, 4.5, 0], dtype=torch.float64)


class TestWalkByLength(EllipseByLength):
    pass


class TestWalkByCoarea(EllipseByCoarea):
    pass


class TestLangevinByCoarea(EllipseByCoarea):
    make = staticmethod(langevin)


class TestHmcByCoarea(EllipseByCoarea):
    make = staticmethod(hmc)


class Wrapped:
    """A kernel whose proposals are tampered with."""

    def __init__(self, kernel, alter):
        self.kernel, self.alter = kernel, alter
        self.begin = kernel.begin

    def __getattr__(self, name):
        return getattr(self.kernel, name)

    def propose(self, state, step, generator):
        return self.alter(self.kernel, state, step, generator)


class Meddled:
    """A mover one of whose parts is replaced."""

    def __init__(self, mover, **parts):
        self.mover = mover
        self.__dict__.update(parts)

    def __getattr__(self, name):
        return getattr(self.mover, name)


def with_mover(kernel, change):
    part = kernel.rattle if hasattr(kernel, "rattle") else kernel
    part.mover = change(part.mover)
    return kernel


def without_reverse_check(kernel):
    def change(mover):
        def move(*arguments):
            landing = mover.move(*arguments)
            return landing._replace(irreversible=torch.zeros_like(landing.irreversible))

        return Meddled(mover, move=move)

    return with_mover(kernel, change)


def with_unprojected_noise(kernel):
    return with_mover(kernel, lambda mover: Meddled(mover, tangent=lambda frame, vectors: vectors))


def with_normal_arrivals(kernel):
    """Momenta that are not made tangent where a move arrives."""

    def change(mover):
        def move(points, *arguments):
            landing = mover.move(points, *arguments)
            return landing._replace(back=points - landing.points)

        return Meddled(mover, move=move)

    return with_mover(kernel, change)


def without_metropolis(kernel):
    def alter(kernel, *arguments):
        proposal = kernel.propose(*arguments)
        return replace(proposal, log_ratio=torch.zeros_like(proposal.log_ratio))

    return Wrapped(kernel, alter)


def without_failures(kernel):
    """Chains whose move failed are given another one instead of staying."""

    def alter(kernel, state, step, generator):
        proposal = kernel.propose(state, step, generator)
        for _ in range(4):
            lost = proposal.failed | proposal.irreversible
            other = kernel.propose(state, step, generator)
            parts = [torch.where(lost.reshape(-1, *(1,) * (a.ndim - 1)), b, a) for a, b in zip(proposal.state, other.state, strict=True)]
            masks = {name: torch.where(lost, getattr(other, name), getattr(proposal, name)) for name in ("log_ratio", "failed", "irreversible")}
            proposal = replace(proposal, state=tuple(parts), **masks)
        return proposal

    return Wrapped(kernel, alter)


def planted(base, make, defect, **attributes):
    """The suite `base` for a kernel with a defect."""

    class Planted(base):
        def kernel(self):
            self.make = make
            return defect(super().kernel())

    suite = Planted()
    for name, value in attributes.items():
        setattr(suite, name, value)
    return suite


def ranks(suite):
    suite.test_ranks_are_uniform()


def means(suite):
    suite.test_moments_are_invariant()


def single(suite):
    suite.test_single_moves_are_reversible()


def tangent(suite):
    suite.test_velocities_are_tangent()


@pytest.mark.parametrize(
    ("base", "make", "defect", "laws", "attributes"),
    [
        (OnTorus, walk, without_reverse_check, (ranks, means, single), {"window": 20}),
        (OnTorus, langevin, without_reverse_check, (single,), {}),
        (OnTorus, langevin, with_normal_arrivals, (tangent,), {}),
        (EllipseByLength, walk, without_failures, (ranks, means), {"step": 1.5}),
        (EllipseByCoarea, langevin, without_failures, (means,), {"step": 1.5}),
        (EllipseByCoarea, walk, with_unprojected_noise, (ranks, means), {"window": 20}),
        (EllipseByCoarea, langevin, with_unprojected_noise, (ranks, means), {"window": 20}),
        (TiltedSphere, walk, without_metropolis, (ranks, means), {}),
        (TiltedSphere, langevin, without_metropolis, (ranks, means), {}),
    ],
)
def test_planted_defects_are_caught(base, make, defect, laws, attributes):
    suite = planted(base, make, defect, **attributes)
    for law in laws:
        with pytest.raises(AssertionError):
            law(suite)


@pytest.mark.parametrize("make", [walk, hmc], ids=["walk", "hmc"])
@pytest.mark.parametrize("base", [EllipseByLength, EllipseByCoarea])
def test_the_wrong_measure_is_caught(base, make):
    wrong = {"hausdorff": "coarea", "coarea": "hausdorff"}[base.measure]
    suite = planted(base, make, lambda kernel: kernel, measure=wrong)
    for law in (ranks, means):
        with pytest.raises(AssertionError):
            law(suite)


def test_lost_chains_that_move_are_caught():
    """The engine rejects what a kernel calls failed; a kernel that does not say so, or draws otherwise when asked again, is not seen by that alone."""

    def alter(kernel, *arguments):
        proposal = kernel.propose(*arguments)
        return replace(proposal, failed=torch.zeros_like(proposal.failed), irreversible=torch.zeros_like(proposal.irreversible))

    with pytest.raises(AssertionError, match="no move failed"):
        planted(OnTorus, walk, lambda kernel: Wrapped(kernel, alter)).test_failed_moves_keep_the_position()


def test_points_off_the_manifold_are_caught():
    def alter(kernel, *arguments):
        proposal = kernel.propose(*arguments)
        return replace(proposal, state=(proposal.state[0] * (1 + 1e-6), *proposal.state[1:]))

    with pytest.raises(AssertionError, match="residual"):
        planted(OnTorus, walk, lambda kernel: Wrapped(kernel, alter)).test_positions_stay_on_the_manifold()


def test_lost_seeds_are_caught():
    def alter(kernel, state, step, generator):
        return kernel.propose(state, step, None)

    with torch.random.fork_rng(devices=[]), pytest.raises(AssertionError, match="same seed"):
        planted(OnTorus, walk, lambda kernel: Wrapped(kernel, alter)).test_same_seed_same_bits()


def test_changed_inputs_are_caught():
    def alter(kernel, state, step, generator):
        state[0].add_(1e-12)
        return kernel.propose(state, step, generator)

    with pytest.raises(AssertionError, match="changed"):
        planted(OnTorus, walk, lambda kernel: Wrapped(kernel, alter)).test_inputs_are_not_changed()


def test_rank_p_values_are_uniform_for_a_right_kernel():
    """Over 30 seeds the smaller of two tests doubled is at least .05 in most: P(12 or more below .05 of 30) = 1e-7."""
    kernel = langevin(Target(SPHERE, pull))
    low = 0
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        p = rank_p_values(kernel, von_mises_fisher(400, generator), 0.8, lambda x: x[:, 2:], window=4, generator=generator)
        assert p.shape == (1,) and 0 <= float(p) <= 1
        low += float(p) < 0.05
    assert low < 12


def test_hooks_that_are_missing_are_named():
    for hook in ("manifold", "kernel"):
        with pytest.raises(NotImplementedError, match=hook):
            getattr(SamplerLaws(), hook)()
    with pytest.raises(NotImplementedError, match="exact_sample"):
        SamplerLaws().exact_sample(3, torch.Generator())
    bare = type("Bare", (), {})()
    with pytest.raises(NotSupportedError, match="round_trip"):
        SamplerLaws().round_trip(bare, torch.zeros(2, 3), 0.1, 1, torch.Generator())


def test_default_moments_are_coordinates_squares_and_products():
    x = torch.tensor([[2.0, 3.0]])
    assert SamplerLaws().moments(x).tolist() == [[2, 3, 4, 9, 6, 6]]
    assert SamplerLaws().expectations() is None
