"""Diffusions and flows on the circle against the law they were learned from. Means are compared within 4.5 standard errors."""

import math

import pytest
import torch
from fields_on_shapes import on_circle, seeded, small, true_log_density

from topogen.distributions.diffusion.diffusion import Diffusion
from topogen.distributions.diffusion.reverse import inpaint, reverse_walk
from topogen.errors import InvalidInputError
from topogen.manifolds import shapes

KINDS = ("diffusion", "flow")


@pytest.fixture(scope="module", params=KINDS)
def found(request):
    return small(request.param)


@pytest.fixture(scope="module")
def diffusion():
    return small("diffusion").distribution


def test_the_likelihood_is_near_the_truth(found):
    test = on_circle(2000, 5)
    gap = (true_log_density(test) - found.distribution.log_prob(test)).mean()
    assert abs(float(gap)) < 0.04
    assert abs(found.held_out - float(true_log_density(test).mean())) < 0.15


def test_it_integrates_to_one(found):
    angle = torch.linspace(0, 2 * torch.pi, 401, dtype=torch.float64)[:-1]
    density = found.distribution.log_prob(torch.stack([angle.cos(), angle.sin()], 1)).exp()
    assert float(density.mean()) * 2 * torch.pi == pytest.approx(1, abs=5e-3)


def test_samples_have_the_density(found):
    x = found.distribution.sample((4000,), seeded(1))
    assert float((x.norm(dim=1) - 1).abs().max()) < 1e-9
    for i in range(2):
        expected = on_circle(200_000, 6)[:, i]
        off = float(x[:, i].mean() - expected.mean())
        assert abs(off) < 4.5 * float(expected.std()) / 4000**0.5 + 0.02


def test_same_seed_same_bits_and_shapes(found):
    first, second = (found.distribution.sample((3, 4), seeded(2)) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (3, 4, 2)
    assert found.distribution.sample((), seeded(2)).shape == (2,)
    assert found.distribution.log_prob(first).shape == (3, 4)


def test_few_steps_are_worse_and_many_are_as_good(found):
    few, many, adapted = (found.distribution.sample((500,), seeded(2), steps=n) for n in (1, 60, None))
    assert float((many - adapted).norm(dim=1).mean()) < 0.02 < float((few - adapted).norm(dim=1).mean()) + 0.02


def test_a_context_needs_a_field_with_one(found):
    with pytest.raises(InvalidInputError, match="fitted without one"):
        found.distribution.sample((3,), seeded(), context=torch.zeros(2))


def test_walk_and_flow_have_the_same_law(diffusion):
    flown, walked = diffusion.sample((4000,), seeded(1)), reverse_walk(diffusion, 4000, steps=120, generator=seeded(2))
    assert float((walked.norm(dim=1) - 1).abs().max()) < 1e-9
    off = (flown.mean(0) - walked.mean(0)).norm()
    assert float(off) < 4.5 * (2 / 4000) ** 0.5 + 0.02


def test_corrections_keep_the_law_and_stages_are_kept(diffusion):
    stages = reverse_walk(diffusion, 1500, steps=40, corrections=1, keep=4, generator=seeded(2))
    assert stages.shape == (5, 1500, 2)
    lengths = stages.mean(1).norm(dim=1)
    length = float(on_circle(100_000, 6).mean(0).norm())
    assert float(lengths[0]) == pytest.approx(length * math.exp(-diffusion.times[1] / 2), abs=0.06)
    assert float(lengths[-1]) == pytest.approx(length, abs=0.06)


def test_stages_before_the_base_are_mixed_further(diffusion):
    stages = reverse_walk(diffusion, 1500, steps=40, keep=6, since=4.0, generator=seeded(2))
    assert stages.shape == (7, 1500, 2)
    length = float(on_circle(100_000, 6).mean(0).norm())
    assert float(stages[0].mean(0).norm()) == pytest.approx(length * math.exp(-4.0 / 2), abs=4.5 * (2 / 1500) ** 0.5)
    assert float((stages.norm(dim=-1) - 1).abs().max()) < 1e-9
    assert float(stages[-1].mean(0).norm()) == pytest.approx(length, abs=0.08)


def test_an_energy_leads_the_walk(diffusion):
    plain = reverse_walk(diffusion, 1500, steps=60, generator=seeded(2))
    led = reverse_walk(diffusion, 1500, steps=60, energy=lambda x: 2 * x[:, 1], generator=seeded(2))
    assert float(led[:, 1].mean()) < float(plain[:, 1].mean()) - 0.2
    with pytest.raises(InvalidInputError, match="energy: expected"):
        reverse_walk(diffusion, 5, steps=3, energy=lambda x: x, generator=seeded(2))


def test_coordinates_are_filled_in(diffusion):
    x, agreed = inpaint(diffusion, torch.tensor([0.5, torch.nan]), 300, steps=60, generator=seeded(2))
    assert float(agreed.double().mean()) > 0.95
    assert float((x[agreed, 0] - 0.5).abs().max()) < 1e-6 and float((x.norm(dim=1) - 1).abs().max()) < 1e-9
    above = float((x[agreed, 1] > 0).double().mean())
    odds = (true_log_density(torch.tensor([[0.5, 0.75**0.5], [0.5, -(0.75**0.5)]], dtype=torch.float64))).exp()
    assert above > 0.75 and float(odds[0] / odds.sum()) > 0.94  # approximate: being led is not conditioning
    with pytest.raises(InvalidInputError, match="known: expected"):
        inpaint(diffusion, torch.tensor([0.5, 0.5]), 3)


def test_scores_are_tangent_and_times_are_checked(diffusion):
    x = shapes.get("circle").sample(50, seeded())
    score = diffusion.score(x, 0.1)
    assert float((score * x).sum(1).abs().max()) < 1e-9
    with pytest.raises(InvalidInputError, match="time: expected"):
        diffusion.score(x, 1e9)
    with pytest.raises(InvalidInputError, match="times: expected 0 < u_min"):
        Diffusion(diffusion.base, diffusion.field, (1.0, 0.5))
    with pytest.raises(InvalidInputError, match="n, steps, corrections, keep"):
        reverse_walk(diffusion, 0)
