"""The laws of densities on every kind of density here, on shapes whose truth is known, and defects that the laws must see.

Each statistical law fails for a right density with probability 1e-4; the suite has two of them for each of six densities.
A `Mixture` lies on several manifolds and has no projection of its own, so the suite is not for it.
"""

import functools

import pytest
import torch

from topogen.distributions import Energy, TangentKernels, Uniform, fit_charts, fit_diffusion, fit_flow
from topogen.distributions.fields.prepare import field_settings
from topogen.learning.atlas.good_cover import good_cover
from topogen.manifolds.shapes import Circle, Sphere, Torus
from topogen.testing import DensityLaws


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def tilt(x):
    return -1.5 * x[:, 0]


@functools.cache
def tilted_points():
    """Points of the circle with density exp(1.5 cos) / Z, by rejection."""
    circle = Circle().sample(6000, seeded(1))
    kept = torch.rand(len(circle), generator=seeded(2), dtype=torch.float64) < (1.5 * (circle[:, 0] - 1)).exp()
    return circle[kept]


class TestUniformOnATorus(DensityLaws):
    def distribution(self):
        return Uniform(Torus())


class TestEnergyOnASphere(DensityLaws):
    scale = 0.5
    normaliser_error = 0.02
    batch_tolerance = 1e-9

    def distribution(self):
        return energy_on_a_sphere()

    def points(self, n, generator):
        return Sphere(2).sample(n, generator)


@functools.cache
def energy_on_a_sphere():
    return Energy(Sphere(2), tilt, seed=3)


class TestKernelsOnACircle(DensityLaws):
    scale = 0.5
    normaliser_error = 0.01

    def distribution(self):
        centres = tilted_points()[:40]
        widths, weights = torch.tensor([0.3], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        return TangentKernels(Circle(), centres, widths, weights, 1.0)

    def points(self, n, generator):
        return Circle().sample(n, generator)


class TestChartsOnACircle(DensityLaws):
    scale = 0.5
    normaliser_error = 0.01

    def distribution(self):
        return charts_on_a_circle()

    def points(self, n, generator):
        return Circle().sample(n, generator)


@functools.cache
def charts_on_a_circle():
    cover = good_cover(Circle().sample(2000, seeded(4)), 1, Circle())
    return fit_charts(tilted_points(), cover.atlas, generator=seeded(5)).distribution


@functools.cache
def field_on_a_circle(fit):
    return fit(tilted_points(), Circle(), settings=field_settings(150), generator=seeded(6), quiet=True).distribution


class OfFields(DensityLaws):
    scale = 0.5
    normaliser_error = 0.02
    # The network computes in single precision.
    batch_tolerance = 1e-4
    n = 2000
    draws = 4000

    def points(self, n, generator):
        return Circle().sample(n, generator)


class TestDiffusionOnACircle(OfFields):
    def distribution(self):
        return field_on_a_circle(fit_diffusion)


class TestFlowOnACircle(OfFields):
    def distribution(self):
        return field_on_a_circle(fit_flow)


class Defect(torch.distributions.Distribution):
    """exp(1.5 cos) / Z on the circle with something wrong."""

    arg_constraints = {}

    def __init__(self, factor=1.0, tilt_of_samples=1.0, projected=True, reuses=False):
        self.manifold, self.truth = Circle(), Energy(Circle(), tilt, seed=3)
        self.factor, self.tilt_of_samples, self.projected, self.reuses = factor, tilt_of_samples, projected, reuses
        super().__init__(torch.Size(), torch.Size((2,)), validate_args=False)

    def log_prob(self, x):
        at = x if self.projected else x * 1.0
        density = self.truth.log_prob(at) + torch.log(torch.tensor(self.factor)).to(x)
        return density if self.projected else density + 0.1 * (x.norm(dim=-1) - 1)

    def sample(self, shape=(), generator=None):
        n = torch.Size(shape).numel()
        pool = Circle().sample(20_000, seeded(8) if self.reuses else generator)
        weight = (1.5 * self.tilt_of_samples * pool[:, 0]).exp()
        chosen = torch.multinomial(weight, max(n, 1), replacement=True, generator=seeded(9) if self.reuses else generator)[:n]
        return pool[chosen].reshape(*shape, 2)


def laws_of(defect):
    class Laws(DensityLaws):
        scale = 0.5
        normaliser_error = 0.01

        def distribution(self):
            return defect

        def points(self, n, generator):
            return Circle().sample(n, generator)

    return Laws()


def test_nothing_is_wrong_without_a_defect():
    laws = laws_of(Defect())
    for name in (name for name in dir(laws) if name.startswith("test_")):
        getattr(laws, name)()


@pytest.mark.parametrize(
    ("defect", "law"),
    [
        ({"factor": 1.1}, "test_integral_is_one"),
        ({"tilt_of_samples": 1.15}, "test_samples_follow_the_density"),
        ({"projected": False}, "test_log_prob_is_taken_at_the_projection"),
        ({"reuses": True}, "test_same_seed_same_bits_and_no_other_randomness"),
    ],
)
def test_planted_defects_are_seen(defect, law):
    with pytest.raises(AssertionError):
        getattr(laws_of(Defect(**defect)), law)()
