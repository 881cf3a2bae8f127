"""Chart mixtures: they integrate to one over charts that overlap, are sampled as they say, and are nothing where no chart is."""

import math

import pytest
import torch

from topogen.distributions.charts.ball_densities import Bump
from topogen.distributions.charts.chart_mixture import ChartMixture, kept_shares, log_sum_by_row
from topogen.distributions.charts.fine_atlas import fine_atlas
from topogen.errors import InvalidInputError, ProjectionError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.shapes import Circle, KleinBottle, MoebiusBand, Sphere, Torus

CASES = [(Circle(), 7), (Sphere(), 20), (Torus(), 150), (KleinBottle(), 150)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixture(shape, count: int, **options) -> ChartMixture:
    atlas = fine_atlas(shape, shape.sample(6000, seeded(0)), (count,))
    weights = torch.rand(count, generator=seeded(1), dtype=torch.float64)
    return ChartMixture(atlas, weights, **options)


def integral(distribution: ChartMixture, shape, n: int = 60_000) -> tuple[float, float]:
    """The integral over the shape by uniform points, with its standard error."""
    value = distribution.log_density(shape.sample(n, seeded(2))).exp() * shape.volume
    return float(value.mean()), float(value.std() / n**0.5)


@pytest.mark.parametrize("shape, count", CASES, ids=lambda case: getattr(case, "name", None))
def test_the_density_integrates_to_one(shape, count):
    """Within 1 % and 4 standard errors of an independent integrator (false alarm 6e-5)."""
    value, error = integral(mixture(shape, count), shape)
    assert abs(value - 1) < 0.01 and abs(value - 1) < 4 * error and error < 0.004


def test_on_own_sheets_it_integrates_to_one_up_to_their_gap():
    """Sheets of cubics that miss the sphere by .003; a tangent basis for each chart instead of each point would add errors of the order of the angle."""
    shared = fine_atlas(Sphere(), Sphere().sample(6000, seeded(0)), (40,), factor=1.5)
    distribution = ChartMixture(Atlas(shared.charts, None, tau=shared.tau, points=shared.points))
    value, error = integral(distribution, Sphere(), 20_000)
    assert abs(value - 1) < 0.01 and error < 0.004
    x = distribution.sample((200,), seeded(1))
    assert float((x.norm(dim=1) - 1).abs().max()) < 0.01
    assert bool(torch.isfinite(distribution.log_prob(x)).all())


def test_forgetting_the_volume_element_is_seen(monkeypatch):
    shape = Sphere()
    distribution = mixture(shape, 12)
    monkeypatch.setattr(ChartMixture, "log_stretch", lambda self, points, row, chart: torch.zeros(len(row), dtype=torch.float64))
    assert abs(integral(distribution, shape)[0] - 1) > 0.02


def test_where_the_manifold_ends_the_kept_share_is_what_normalises():
    """On a half sphere behind a gate: right with `kept`, wrong by more than 3 % without."""
    half = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 2, 3, gate=lambda x, basis: x[:, 2] > 0)
    every = Sphere().sample(100_000, seeded(2))
    upper = every[every[:, 2] > 0]
    plain = ChartMixture(fine_atlas(half, upper[:6000], (20,)), torch.rand(20, generator=seeded(1)))
    kept, error = kept_shares(plain.atlas, plain.base, seeded(3))
    distribution = ChartMixture(plain.atlas, plain.weights, kept=kept, kept_error=error)
    right, wrong = (float(d.log_density(upper[6000:]).exp().mean()) * 2 * math.pi for d in (distribution, plain))
    assert abs(right - 1) < 0.01 and abs(wrong - 1) > 0.03
    assert float(kept.min()) < 0.9 and 0 < float(error.max()) < 0.01 and bool((error[kept == 1] == 0).all())
    assert 0.5 < distribution.covered.value < 0.97 and 0 < distribution.covered.standard_error < 0.01
    assert bool((distribution.sample((500,), seeded(4))[:, 2] > 0).all())


def test_coordinates_past_the_edge_of_a_band_lead_nowhere():
    shape = MoebiusBand()
    atlas = fine_atlas(shape, shape.sample(1000, seeded(0)), (60,))
    drawn = atlas.decode(torch.arange(60).repeat(5), 0.9 * atlas.charts.radius.repeat(5)[:, None] * torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    assert 0 < int(drawn.found.sum()) < 300
    assert float(shape.distance(drawn.points[drawn.found]).max()) < 1e-5


def test_samples_have_the_density():
    """E_p[1 / p] over the support is the area of the sphere; chart shares of the sample are the weights (both within 4.5 standard errors)."""
    shape = Sphere()
    distribution = mixture(shape, 20)
    drawn = distribution.sample((30_000,), generator=seeded(5))
    inverse = (-distribution.log_prob(drawn)).exp()
    assert abs(float(inverse.mean()) - shape.volume) < 4.5 * float(inverse.std() / len(inverse) ** 0.5)
    share = distribution.responsibilities(drawn)
    error = share.std(0) / len(drawn) ** 0.5
    assert bool(((share.mean(0) - distribution.weights).abs() < 4.5 * error).all())
    assert torch.allclose(share.sum(1), torch.ones(len(drawn), dtype=torch.float64))


def test_the_bump_is_normalised_and_drawn_as_it_says():
    for dim in (1, 2, 3):
        base, chart = Bump(dim, 2.5), torch.zeros(100_000, dtype=torch.int64)
        cube = 2 * torch.rand(100_000, dim, generator=seeded(6), dtype=torch.float64) - 1
        density = base.log_density(chart, cube).exp() * 2**dim
        assert abs(float(density.mean()) - 1) < 4.5 * float(density.std()) / 100_000**0.5
        squared = base.draw(chart, seeded(7)).square().sum(1)
        assert float(squared.mean()) == pytest.approx(dim / (dim + 7), abs=0.005) and float(squared.max()) < 1
    assert float(base.log_density(chart[:1], torch.ones(1, 3))) == -math.inf


def test_the_density_has_no_step_where_a_chart_ends():
    shape = Circle()
    distribution = mixture(shape, 7)
    angle = torch.linspace(0, 2 * math.pi, 200_001, dtype=torch.float64)
    density = distribution.log_density(torch.stack([angle.cos(), angle.sin()], 1)).exp()
    assert float(density.diff().abs().max()) < 1e-4 * float(density.max())


def test_points_are_judged_at_their_projection_and_batches_like_singles():
    distribution = mixture(Sphere(), 20)
    x = Sphere().sample(6, seeded(8))
    whole = distribution.log_prob(x)
    assert torch.allclose(distribution.log_prob(1.3 * x), whole)
    assert torch.allclose(torch.stack([distribution.log_prob(row) for row in x]), whole)
    assert distribution.log_prob(x.float().reshape(2, 3, 3)).shape == (2, 3) and distribution.log_prob(x.float()).dtype == torch.float32
    assert float(distribution.log_prob(torch.zeros(1, 3, dtype=torch.float64))) == -math.inf


def test_where_no_chart_is_the_density_is_nothing():
    atlas = mixture(Sphere(), 20).atlas
    part = ChartMixture(Atlas(atlas.charts.subset(torch.arange(1)), Sphere()))
    far = -part.atlas.charts.centre[:1]
    assert float(part.log_prob(far)) == -math.inf
    assert bool((part.responsibilities(far) == 0).all())
    assert part.sample((0,)).shape == (0, 3) and part.sample((2, 3), seeded(9)).shape == (2, 3, 3)


def test_a_chart_without_points_of_the_manifold_is_named():
    """A chart far outside a sphere: kept is almost nothing, and sampling from it fails with its number."""
    atlas = mixture(Sphere(), 12).atlas
    charts = atlas.charts.subset(torch.arange(2))
    charts.centre[1] *= 5
    lost = Atlas(charts, Sphere(), tau=torch.full((2,), 0.5))
    kept, _ = kept_shares(lost, Bump(2), seeded(10))
    assert float(kept[1]) < 0.01
    with pytest.raises(ProjectionError, match="in chart 1"):
        ChartMixture(lost, torch.tensor([0.0, 1.0]), kept=kept).sample((5,), seeded(11))


def test_sums_by_row_are_those_of_logsumexp():
    logs, row = torch.tensor([-1000.0, -1001.0, 3.0]), torch.tensor([0, 0, 2])
    assert torch.allclose(log_sum_by_row(logs, row, 3), torch.tensor([-999.6867, -math.inf, 3.0]))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"weights": torch.ones(3)}, "weights"),
        ({"weights": -torch.ones(7)}, "weights"),
        ({"kept": torch.zeros(7)}, "kept"),
        ({"kept": 2 * torch.ones(7)}, "kept"),
    ],
)
def test_wrong_weights_and_shares_are_named(options, message):
    atlas = fine_atlas(Circle(), Circle().sample(500, seeded(0)), (7,))
    with pytest.raises(InvalidInputError, match=message):
        ChartMixture(atlas, **options)
    with pytest.raises(InvalidInputError, match="power"):
        Bump(2, 0.0)
