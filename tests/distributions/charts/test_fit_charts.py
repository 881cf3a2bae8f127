"""Densities learned over charts: as near to the truth as the sample allows, chosen on held-out points, honest about what was left out."""

import math

import pytest
import torch

from topogen.distributions.charts.ball_densities import Bump
from topogen.distributions.charts.chart_mixture import ChartMixture
from topogen.distributions.charts.fine_atlas import fine_atlas, folded_share
from topogen.distributions.charts.fit import fit_charts, fit_fine_charts
from topogen.errors import InvalidInputError
from topogen.manifolds.shapes import Circle, Sphere, Torus
from topogen.training.trainer import Settings

WIDTH = 0.35


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def von_mises(n: int, kappa: float, seed: int) -> torch.Tensor:
    """Angles by rejection from the uniform ones."""
    generator = seeded(seed)
    angle = 2 * math.pi * torch.rand(40 * n, generator=generator, dtype=torch.float64)
    keep = torch.rand(40 * n, generator=generator, dtype=torch.float64) < (kappa * (angle.cos() - 1)).exp()
    return angle[keep][:n]


def on_circle(angle: torch.Tensor) -> torch.Tensor:
    return torch.stack([angle.cos(), angle.sin()], -1)


class WrappedNormals:
    """Six wrapped normals in the angles of a torus, with respect to area."""

    def __init__(self, seed: int) -> None:
        self.means = 2 * math.pi * torch.rand(6, 2, generator=seeded(seed), dtype=torch.float64)

    def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        u, v = (self.means[torch.randint(6, (n,), generator=generator)] + WIDTH * torch.randn(n, 2, generator=generator, dtype=torch.float64)).T
        return torch.stack([(1 + 0.4 * v.cos()) * u.cos(), (1 + 0.4 * v.cos()) * u.sin(), 0.4 * v.sin()], -1)

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        u, v = torch.atan2(x[:, 1], x[:, 0]), torch.atan2(x[:, 2], x[:, :2].norm(dim=1) - 1)
        both = self._wrapped(u[:, None] - self.means[:, 0]) + self._wrapped(v[:, None] - self.means[:, 1])
        return torch.logsumexp(both, 1) - math.log(6) - torch.log(0.4 * (1 + 0.4 * v.cos()))

    def _wrapped(self, delta: torch.Tensor) -> torch.Tensor:
        turned = delta[..., None] + 2 * math.pi * torch.arange(-2, 3)
        return torch.logsumexp(-(turned**2) / (2 * WIDTH**2), -1) - 0.5 * math.log(2 * math.pi * WIDTH**2)


def test_a_von_mises_density_on_a_circle_has_no_dip_where_charts_end():
    """2000 points, kappa 2: KL below .01 nats; at the rims of the charts the curve is off by no more than in between, 15 % of the peak at most."""
    kappa = 2.0
    fitted = fit_fine_charts(on_circle(von_mises(2000, kappa, 0)), Circle(), scales=[((12,), 2.4), ((24,), 3.0)], generator=seeded(1))
    normaliser = math.log(2 * math.pi) + float(torch.special.i0(torch.tensor(kappa, dtype=torch.float64)).log())
    angle = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)[:-1]
    truth, found = kappa * angle.cos() - normaliser, fitted.distribution.log_prob(on_circle(angle))
    step = 2 * math.pi / 4000
    assert float(found.exp().sum() * step) == pytest.approx(1, abs=1e-4)
    assert float((truth.exp() * (truth - found)).sum() * step) < 0.01
    charts = fitted.distribution.atlas.charts
    numbers = torch.arange(charts.count)
    rim = torch.cat([fitted.distribution.atlas.decode(numbers, 0.999 * sign * charts.radius[:, None]).points for sign in (-1, 1)])
    truth_there = (kappa * rim[:, 0] - normaliser).exp()
    at_rims = (fitted.distribution.log_prob(rim).exp() - truth_there).abs()
    between = (found.exp() - truth.exp()).abs()
    assert float(at_rims.square().mean().sqrt()) < 1.5 * float(between.square().mean().sqrt())
    assert float(between.max() / truth.exp().max()) < 0.15


def test_six_wrapped_normals_on_a_torus_come_within_two_hundredths_of_a_nat():
    truth, generator = WrappedNormals(0), seeded(1)
    train, test = truth.draw(8000, generator), truth.draw(3000, generator)
    fitted = fit_fine_charts(train, Torus(), scales=[((200,), 2.4), ((500,), 2.4)], generator=seeded(2))
    assert float((truth.log_density(test) - fitted.distribution.log_prob(test)).mean()) < 0.02
    assert fitted.distribution.atlas.count == 500 and fitted.report.chosen == "weights" and fitted.report.uncovered == 0
    uniform = torch.full((len(test),), -math.log(Torus().volume))
    assert fitted.report.held_out > float(uniform.mean()) + 0.5 and "500 charts" in fitted.report.notes[0]


def test_coarse_charts_shrink_until_they_do_not_fold_and_what_folds_is_told():
    shape = Torus()
    cover = shape.sample(8000, seeded(3))
    assert folded_share(fine_atlas(shape, cover, (200,))) == 0
    assert folded_share(fine_atlas(shape, cover, (12,))) > 0.01
    with pytest.raises(InvalidInputError, match="fold over the manifold"):
        fit_fine_charts(cover, shape, scales=[((12,), 2.0)], generator=seeded(4))


def test_same_seed_same_density_and_points_in_no_chart_are_counted():
    shape = Sphere()
    points = shape.sample(600, seeded(5))
    atlas = fine_atlas(shape, shape.sample(4000, seeded(6)), (40,))
    first, second = (fit_charts(points, atlas, generator=seeded(7)) for _ in range(2))
    assert torch.equal(first.distribution.weights, second.distribution.weights)
    assert isinstance(first.distribution, ChartMixture) and first.report.uncovered == 0
    off = torch.cat([points, torch.zeros(5, 3, dtype=torch.float64)])
    assert fit_charts(off, atlas, generator=seeded(7)).report.uncovered == 5


def test_wrong_arguments_are_named():
    points = Circle().sample(100, seeded(8))
    atlas = fine_atlas(Circle(), points, (6,))
    with pytest.raises(InvalidInputError, match="points: 3 of 3"):
        fit_charts(points[:3], atlas)
    with pytest.raises(InvalidInputError, match="scales"):
        fit_fine_charts(points, Circle(), scales=[])
    with pytest.raises(InvalidInputError, match="factor"):
        fine_atlas(Circle(), points, (6,), factor=1.0)


def test_flows_fill_the_grooves_of_few_large_charts():
    """Six charts on a circle: bumps alone are .3 nats off, with flows inside the truth is met within .02; the integral stays 1."""
    kappa, shape = 2.0, Circle()
    atlas = fine_atlas(shape, shape.sample(4000, seeded(9)), (6,), factor=1.8)
    points = on_circle(von_mises(2000, kappa, 0))
    fitted = fit_charts(points, atlas, flows=True, settings=Settings(steps=400, measure_every=50), generator=seeded(10), quiet=True)
    angle = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)[:-1]
    truth = kappa * angle.cos() - math.log(2 * math.pi) - float(torch.special.i0(torch.tensor(kappa, dtype=torch.float64)).log())
    found = fitted.distribution.log_prob(on_circle(angle))
    step = 2 * math.pi / 4000
    assert float(found.exp().sum() * step) == pytest.approx(1, abs=1e-3)
    assert float((truth.exp() * (truth - found)).sum() * step) < 0.02
    assert fitted.report.chosen == "flows" and fitted.report.flow_gain.value > fitted.report.flow_gain.standard_error and "are taken" in fitted.report.notes[-1]
    drawn = fitted.distribution.sample((20_000,), seeded(11))
    assert float(drawn[:, 0].mean()) == pytest.approx(float((found.exp() * angle.cos()).sum() * step), abs=4.5 / 20_000**0.5)


def test_flows_that_do_not_gain_are_not_taken():
    """Uniform points under many small charts: there is nothing for flows to find."""
    shape = Circle()
    atlas = fine_atlas(shape, shape.sample(4000, seeded(12)), (30,), factor=3.0)
    fitted = fit_charts(shape.sample(400, seeded(13)), atlas, flows=True, settings=Settings(steps=60, measure_every=20), generator=seeded(14), quiet=True)
    assert fitted.report.chosen == "weights" and "not taken" in fitted.report.notes[-1] and isinstance(fitted.distribution.base, Bump)
    assert fitted.report.training.steps > 0 and fitted.report.flow_gain.value <= fitted.report.flow_gain.standard_error


def test_a_number_of_steps_alone_keeps_the_rate_of_flows():
    points = Circle().sample(200, seeded(15))
    atlas = fine_atlas(Circle(), points, (6,), factor=1.8)
    first, second = (
        fit_charts(points, atlas, flows=True, settings=settings, generator=seeded(16), quiet=True).report.training
        for settings in (Settings(steps=100), Settings(steps=100, rate=1e-3, measure_every=25))
    )
    assert first.history == second.history and [step for step, _, _ in first.history] == [25, 50, 75, 100]
