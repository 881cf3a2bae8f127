"""Mixtures of injective flows: near the truth with few charts, normalised, kept by files, a way out where no discs do, no spikes on a wrong manifold."""

import functools
import math

import pytest
import torch

import topogen
from topogen.distributions import Uniform
from topogen.distributions.charts.ball_flow import BallFlow
from topogen.distributions.charts.fit_flows import few_charts, fit_flow_charts
from topogen.errors import InvalidInputError
from topogen.learning.atlas.good_cover import good_cover
from topogen.manifolds.shapes import Circle, LinkedCircles, Sphere
from topogen.testing import DensityLaws
from topogen.training.trainer import Settings

KAPPA = 2.0


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def von_mises(n, seed):
    """Points of the unit circle with density exp(kappa cos) / (2 pi I_0(kappa)), by rejection."""
    drawn = Circle().sample(20 * n, generator=seeded(seed))
    kept = torch.rand(len(drawn), generator=seeded(seed + 1), dtype=torch.float64) < (KAPPA * (drawn[:, 0] - 1)).exp()
    return drawn[kept][:n]


def truth(x):
    return KAPPA * x[:, 0] - math.log(2 * math.pi) - float(torch.special.i0(torch.tensor(KAPPA, dtype=torch.float64)).log())


@functools.cache
def flows_on_a_circle():
    return fit_flow_charts(von_mises(1000, 0), Circle(), generator=seeded(2), quiet=True)


def test_two_charts_come_near_the_truth_and_integrate_to_one():
    fitted = flows_on_a_circle()
    angle = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)[:-1]
    x = torch.stack([angle.cos(), angle.sin()], -1)
    found, step = fitted.distribution.log_prob(x), 2 * math.pi / 4000
    kl = float((truth(x).exp() * (truth(x) - found)).sum() * step)
    uniform = float((truth(x).exp() * (truth(x) + math.log(2 * math.pi))).sum() * step)
    assert fitted.distribution.atlas.count == 2 and fitted.report.chosen == "flows"
    assert float(found.exp().sum() * step) == pytest.approx(1, abs=1e-3)
    assert kl < 0.03 < uniform / 10


def test_there_is_no_seam_at_the_rim_of_a_chart():
    """On both sides of the rim of each chart the density is the same within 3 %."""
    mixture = flows_on_a_circle().distribution
    charts = mixture.atlas.charts
    for k in range(charts.count):
        for sign in (-1.0, 1.0):
            rim = mixture.atlas.decode(torch.tensor([k]), 0.9999 * sign * charts.radius[k : k + 1].unsqueeze(0)).points
            tangent = Circle().tangent_basis(rim)[..., 0]
            beside = Circle().projx(torch.cat([rim - 0.005 * tangent, rim + 0.005 * tangent]))
            inner, outer = mixture.log_prob(beside).exp()
            assert abs(float(inner / outer) - 1) < 0.03 + 2 * KAPPA * 0.005


class TestFlowsOnACircle(DensityLaws):
    scale = 0.5
    normaliser_error = 0.01

    def distribution(self):
        return flows_on_a_circle().distribution

    def points(self, n, generator):
        return Circle().sample(n, generator)


def test_the_entry_fits_saves_and_loads_to_the_same_bits(tmp_path):
    points = von_mises(300, 3)
    model = topogen.fit(points, manifold=Circle(), density="flows", density_settings=Settings(steps=60), seed=0, quiet=True)
    assert isinstance(model.distribution.base, BallFlow) and any("2 star-shaped discs" in note for note in model.notes)
    model.save(tmp_path / "model")
    again = topogen.load(tmp_path / "model")
    assert torch.equal(again.log_prob(points), model.log_prob(points))
    assert torch.equal(again.sample(20, seeded(4)), model.sample(20, seeded(4)))


def test_models_are_compared_by_paired_differences():
    held = von_mises(400, 8)
    flows = topogen.Model(Circle(), flows_on_a_circle().distribution, held)
    plain = topogen.Model(Circle(), Uniform(Circle()), held)
    found = plain.compare(flows, held, names=("uniform", "flows"))
    assert found.names == ("flows", "uniform") and found.behind[1].value > 5 * found.behind[1].standard_error
    sphere = topogen.Model(Sphere(2), Uniform(Sphere(2)), Sphere(2).sample(50, generator=seeded(9)))
    with pytest.raises(InvalidInputError, match="different measures"):
        plain.compare(sphere, held)


def test_own_sheets_and_components_are_taken_as_they_are():
    own = good_cover(Circle().sample(600, generator=seeded(5)), 1, accuracy=1e-3).atlas
    atlas, note = few_charts(own, own.points, None, None)
    assert atlas is own and "of the manifold itself" in note
    linked = LinkedCircles()
    assert few_charts(linked, linked.sample(200, generator=seeded(6)), None, seeded(7))[0].count == 4


def test_a_wrong_manifold_gets_no_spike():
    """Data of the unit circle, flows on the circle of radius 2: geometry is not trained by likelihood, so that longer training finds no density to inflate."""
    data, held = von_mises(600, 10), von_mises(600, 12)
    short, long = (fit_flow_charts(data, Circle(2.0), settings=Settings(steps=steps), generator=seeded(11), quiet=True).distribution for steps in (100, 1000))
    bound = float(truth(data).max()) - math.log(2) + 0.5
    assert max(float(each.log_prob(held).max()) for each in (short, long)) < bound
    assert abs(float(long.log_prob(data).mean() - long.log_prob(held).mean())) < 0.15
