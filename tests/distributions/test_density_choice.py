"""What "auto" stands for: uniform where the data are, the cheapest that is as good elsewhere, and what a budget leaves out."""

import functools
from dataclasses import replace

import pytest
import torch

from topogen.distributions import DENSITIES, Energy, Uniform
from topogen.distributions.base import DensityRequest, FittedDensity
from topogen.distributions.density_choice import choose_density
from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Circle, Sphere


@functools.cache
def cloud(tilt, n=800, seed=0):
    """Points of the circle with density proportional to exp(tilt cos)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = Circle().sample(40 * n, generator=generator)
    kept = torch.rand(len(drawn), generator=generator, dtype=torch.float64) < (tilt * (drawn[:, 0] - 1)).exp()
    return drawn[kept][:n]


def request(points, seed=0):
    return DensityRequest(points, Circle(), points, torch.Generator().manual_seed(seed), quiet=True)


def tilted(by):
    return lambda request: FittedDensity(Energy(Circle(), lambda x: -by * x[:, 0], seed=0))


def failing(request):
    raise InvalidInputError("points: made to fail")


def table(**entries):
    """The uniform density and fakes: name = (fit, predicted seconds)."""
    fakes = {name: replace(DENSITIES["energy"], name=name, fit=fit, seconds=lambda n, d, D, s=s: s) for name, (fit, s) in entries.items()}
    return {"uniform": DENSITIES["uniform"], **fakes}


def test_uniform_data_get_the_uniform_density_and_nothing_else_is_tried():
    found = choose_density(table(never=(failing, 1.0)), request(cloud(0.0)))
    assert isinstance(found.distribution, Uniform) and "do not contradict" in found.notes[-1]


def test_few_points_stay_uniform():
    found = choose_density(table(never=(failing, 1.0)), request(cloud(2.0)[:30]))
    assert isinstance(found.distribution, Uniform) and "tell little" in found.notes[-1]


def test_a_manifold_that_cannot_be_sampled_cheaply_or_at_all_stays_uniform():
    four = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 4, 5)
    points = Sphere(4).sample(200, generator=torch.Generator().manual_seed(5))
    found = choose_density(table(never=(failing, 1.0)), DensityRequest(points, four, points, torch.Generator().manual_seed(0)))
    assert isinstance(found.distribution, Uniform) and "above dimension 3" in found.notes[-1]


def test_the_right_density_wins_and_what_each_reached_is_said():
    found = choose_density(table(right=(tilted(2.0), 1.0), wrong=(tilted(-2.0), 0.5)), request(cloud(2.0)))
    assert isinstance(found.distribution, Energy)
    assert found.notes[0].startswith("density: right, held-out log density: uniform -1.8") and "wrong -" in found.notes[0]


def test_of_those_as_good_the_cheapest_is_taken():
    found = choose_density(table(dear=(tilted(2.0), 9.0), cheap=(tilted(2.05), 1.0)), request(cloud(2.0)))
    assert found.notes[0].startswith("density: cheap,")


def test_what_the_budget_leaves_out_is_named():
    entries = table(right=(tilted(2.0), 40.0), less=(tilted(1.0), 10.0))
    found = choose_density(entries, request(cloud(2.0)), 60.0)
    assert found.notes[0].startswith("density: less,") and "not tried within 60 s: right (about 40 s)" in found.notes[0]
    assert choose_density(entries, request(cloud(2.0)), 100.0).notes[0].startswith("density: right,")


def test_failures_and_densities_of_zero_are_told_and_not_taken():
    def holed(request):
        distribution = Energy(Circle(), lambda x: torch.where(x[:, 0] > 0.999, torch.inf, -3.0 * x[:, 0]), seed=0)
        return FittedDensity(distribution)

    found = choose_density(table(bad=(failing, 1.0), holed=(holed, 1.0), right=(tilted(2.0), 2.0)), request(cloud(2.0)))
    assert found.notes[0].startswith("density: right,")
    assert "bad failed (points: made to fail)" in found.notes[0] and "holed gives" in found.notes[0]


def test_same_seed_same_choice_and_same_bits():
    entries = {"uniform": DENSITIES["uniform"], "charts": DENSITIES["charts"]}
    first, second = (choose_density(entries, request(cloud(2.0), seed=3)) for _ in range(2))
    assert first.notes == second.notes and first.notes[0].startswith("density: charts,")
    x = Circle().sample(50, generator=torch.Generator().manual_seed(4))
    assert torch.equal(first.distribution.log_prob(x), second.distribution.log_prob(x))


@pytest.mark.parametrize("name", [name for name in DENSITIES if name != "uniform"])
def test_every_built_in_density_has_a_predicted_cost_that_grows_with_the_cloud(name):
    seconds = DENSITIES[name].seconds
    assert 0 < seconds(100, 1, 2) <= seconds(100_000, 1, 2)
