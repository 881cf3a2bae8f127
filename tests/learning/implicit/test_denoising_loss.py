"""The denoising objective: its minimum, its levels, and what is learned from small clouds in a few steps."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from topogen.geometry.clouds.dimension import affine_hull
from topogen.geometry.clouds.scales import Scales, estimate_scales
from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.learning.implicit.denoising_loss import EXTRA_OUTPUTS, FALLEN, FAR_SHARE, FOUND, ConstraintLearner, Ramp, learn_constraint, noise_levels
from topogen.learning.implicit.fit import fit_implicit, gate_of, manifold_of
from topogen.manifolds.shapes import Circle
from topogen.topology.level_sets.spurious_components import audit
from topogen.training.trainer import Settings, TrainingState

SHORT = Settings(steps=600, batch_size=256, rate=4e-3, measure_every=100)


def network(outputs: int = 3, dim: int = 3) -> ConstraintNetwork:
    generator = torch.Generator().manual_seed(0)
    return ConstraintNetwork(torch.zeros(dim), 2.0, torch.eye(dim), outputs, 16, skip=0.5, generator=generator)


def circle(n: int, noise: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    on = Circle().sample(n, generator=generator)
    return on + noise * torch.randn(on.shape, generator=generator, dtype=torch.float64)


def test_the_written_out_gradient_is_that_of_autograd():
    learner = ConstraintLearner(network(), 1.0, 10.0)
    y = torch.randn(20, 3, requires_grad=True)
    (expected,) = torch.autograd.grad(0.5 * (learner.network.inner(y) ** 2).sum(), y)
    assert torch.allclose(learner.network.pull(y), expected, atol=1e-6)


def test_the_loss_of_a_plane_is_that_of_its_tangential_noise():
    """For data on a plane and F the coordinate across it the objective is the share of the noise along the plane, E |e_T|^2 / s^2 = d: exact, up to
    sampling."""
    learner = ConstraintLearner(Plane(), far=1.0, pin=0.0)
    points = torch.cat([torch.randn(20_000, 2), torch.zeros(20_000, 1)], 1)
    levels = torch.full((20_000, 1), math.log(0.1))
    loss = learner.loss(torch.cat([points, levels, levels, levels], 1), torch.Generator().manual_seed(2))
    # the variance of |e_T|^2 / s^2 with two degrees of freedom is 4: six standard errors are 6 * 2 / sqrt(20000)
    assert float(loss.detach()) == pytest.approx(2.0, abs=0.085)


class Plane(ConstraintNetwork):
    """F(y) = y_3, written as a network of one linear layer."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(3), 1.0, torch.eye(3), 1, depth=0)
        with torch.no_grad():
            self.layers[0].weight.copy_(torch.tensor([[0.0, 0.0, 1.0]]))
            self.layers[0].bias.zero_()


class Shifted(Plane):
    """F(y) = y_3 - c: the plane, learned too high."""

    def __init__(self, c: float) -> None:
        super().__init__()
        with torch.no_grad():
            self.layers[0].bias.fill_(-c)


def test_the_ramp_opens_between_its_shares():
    learner = ConstraintLearner(network(), 1.0, 10.0)
    ramp, shares = Ramp(learner, 0.3, 0.6), []
    for step in (0, 30, 45, 60, 99):
        ramp.begin(TrainingState(steps=100, step=step))
        shares.append(learner.share)
    assert shares == pytest.approx([0, 0, 0.5, 1, 1])


def test_the_floor_falls_once_a_manifold_is_found_and_stays_where_training_is_short():
    learner = ConstraintLearner(network(), 1.0, 10.0)

    def fallen(steps: int) -> list[float]:
        found = []
        for step in (0, FOUND, (FOUND + round(FALLEN * steps)) // 2, round(FALLEN * steps), steps - 1):
            Ramp(learner).begin(TrainingState(steps=steps, step=step))
            found.append(learner.fallen)
        return found

    assert fallen(3000) == pytest.approx([0, 0, 0.5, 1, 1]) and fallen(300) == pytest.approx([0, 0, 0.5, 1, 1])
    assert fallen(150) == fallen(250) == [0, 0, 0, 0, 0]


def test_noise_is_drawn_down_to_the_floor_of_now():
    """The loss of a plane weighs all noise alike, 2 on average; with F = 0 it is E |e|^2 / s^2 = 3, and |grad - s e|^2 of F = c is c^2 / s^2 at scale s."""
    learner = ConstraintLearner(Shifted(0.01), far=1.0, pin=0.0)
    points = torch.cat([torch.randn(20_000, 2, generator=torch.Generator().manual_seed(3)), torch.zeros(20_000, 1)], 1)
    first, low = (torch.full((20_000, 1), math.log(s)) for s in (0.1, 0.01))
    rows = torch.cat([points, first, low, first], 1)

    def loss(fallen: float) -> float:
        learner.fallen = fallen
        return float(learner.loss(rows, torch.Generator().manual_seed(2)).detach())

    def expected(low: float) -> float:
        """2 + (1 - share) c^2 E s^-2 near, s log-uniform in [low, .1], and far, s in [.1, 1]."""
        near = (low**-2 - 0.1**-2) / (2 * math.log(0.1 / low)) if low < 0.1 else 0.1**-2
        return 2 + 1e-4 * ((1 - FAR_SHARE) * near + FAR_SHARE * (0.1**-2 - 1) / (2 * math.log(10)))

    # six standard errors of the noise alone are .085; those of c^2 / s^2 and of its product with the noise are smaller
    assert loss(0.0) == pytest.approx(expected(0.1), abs=0.1)
    assert loss(0.5) == pytest.approx(expected(0.1**1.5), abs=0.1)
    assert loss(1.0) == pytest.approx(expected(0.01), abs=0.1)
    assert expected(0.01) - expected(0.1) > 0.15


def test_levels_stay_above_the_noise_and_below_the_reach():
    cloud = circle(1000, 0.02)
    scales = estimate_scales(cloud, 1)
    levels = noise_levels(scales, 1)
    assert (levels.low >= scales.noise).all() and (levels.high >= 3 * levels.low).all()
    assert levels.high.median() == pytest.approx(0.7, rel=0.35)
    assert levels.empty == 0 and levels.far > float(levels.high.max()) * 0.9


def test_levels_say_where_there_is_no_room():
    """Noise or spacing above the reach at a third of the points."""
    reach = torch.cat([torch.full((100,), 0.01), torch.ones(200)]).double()
    scales = Scales(1, 0.05, 0.01, 0.01, 2.0, torch.full((300,), 0.01, dtype=torch.float64), reach, 10, True)
    assert noise_levels(scales, 1).empty == pytest.approx(1 / 3)


@pytest.mark.parametrize(("ambient", "outputs"), [(2, 1), (3, 1), (5, 1)])
def test_a_circle_is_learned_in_its_affine_hull(ambient, outputs):
    """A circle in a tilted plane of R^D: the plane is exact, the rest is learned with one output whatever D is."""
    frame = torch.linalg.qr(torch.randn(ambient, ambient, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q[:, :2]
    cloud = 10 + circle(1000) @ frame.T
    fitted = fit_implicit(cloud, 1, settings=SHORT, generator=torch.Generator().manual_seed(0), quiet=True)
    assert fitted.manifold.outputs == outputs + ambient - 2
    on = 10 + circle(200) @ frame.T
    found = fitted.manifold.project(on)
    assert found.converged.all()
    assert (found.points - on).norm(dim=-1).mean() < 0.01


def test_an_overcomplete_circle_has_rank_one_and_the_same_bits_for_the_same_seed():
    cloud = circle(1000)
    scales = estimate_scales(cloud, 1, generator=torch.Generator().manual_seed(0))
    found = [
        learn_constraint(cloud, 1, affine_hull(cloud), scales, closed=False, settings=SHORT, generator=torch.Generator().manual_seed(4), quiet=True)
        for _ in range(2)
    ]
    for first, second in zip(found[0].network.parameters(), found[1].network.parameters(), strict=True):
        assert torch.equal(first, second)
    manifold = manifold_of(found[0], 1)
    assert manifold.outputs == 2 + EXTRA_OUTPUTS
    assert manifold.gap(cloud).quantile(0.01) > 5
    assert manifold.local_dim(cloud).eq(1).double().mean() > 0.99


def test_an_arc_is_gated_where_it_ends():
    angle = math.pi * torch.rand(2000, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    arc = torch.stack([angle.cos(), angle.sin()], -1)
    fitted = fit_implicit(arc, 1, boundary=True, settings=SHORT, generator=torch.Generator().manual_seed(0), quiet=True)
    assert fitted.manifold.gate is not None and any("gated" in note for note in fitted.notes)
    probe = torch.linspace(-1.2, math.pi + 1.2, 4001, dtype=torch.float64)
    found = fitted.manifold.project(torch.stack([probe.cos(), probe.sin()], -1))
    inside = found.converged & ((found.points - torch.stack([probe.cos(), probe.sin()], -1)).norm(dim=-1) < 0.05)
    assert float(inside.double().mean()) * float(probe[-1] - probe[0]) == pytest.approx(math.pi, rel=0.02)


def test_the_radius_of_a_gate_follows_the_units():
    cloud = circle(500)
    assert gate_of(1000 * cloud, 1).radius == pytest.approx(1000 * gate_of(cloud, 1).radius)


def test_the_floor_of_the_levels_follows_the_reach():
    """A thin tube is not blurred over .7 % of its diameter at first, a round shape is, and both a quarter of that in the end; noise is the floor of both, and
    half of what was removed, where nothing falls: what is left on moved points is not noise that training could even out at a finer scale."""
    reach = torch.tensor([0.02, 0.1, 0.5, 0.5], dtype=torch.float64)
    scales = Scales(1, 1e-4, 0.001, 0.02, 1.0, torch.full((4,), 0.001, dtype=torch.float64), reach, 10, True)
    assert noise_levels(scales, 1).first.tolist() == pytest.approx([0.001, 0.005, 0.007, 0.007])
    assert noise_levels(replace(scales, noise=1e-4), 1).low.tolist() == pytest.approx([0.00025, 0.00125, 0.00175, 0.00175])
    assert noise_levels(replace(scales, noise=0.006), 1).first.tolist() == pytest.approx([0.006, 0.006, 0.007, 0.007])
    assert noise_levels(replace(scales, noise=0.006), 1).low.tolist() == pytest.approx([0.006] * 4)
    moved = noise_levels(scales, 1, removed=0.006)
    assert moved.first.tolist() == moved.low.tolist() == pytest.approx([0.003, 0.005, 0.007, 0.007])


def test_one_output_is_guided_to_its_sign():
    """F(y) = y_3 on the plane with normal e_3 costs nothing more, with normal -e_3 it costs E (2 e_3)^2 = 4."""
    learner = ConstraintLearner(Plane(), far=1.0, pin=0.0)
    points = torch.cat([torch.randn(20_000, 2, generator=torch.Generator().manual_seed(3)), torch.zeros(20_000, 1)], 1)
    levels, normal = torch.full((20_000, 1), math.log(0.1)), torch.tensor([0.0, 0.0, 1.0]).expand(20_000, 3)

    def cost(sign: float, guide: float) -> float:
        learner.guide = guide
        rows = torch.cat([points, levels, levels, levels, sign * normal], 1)
        return float(learner.loss(rows, torch.Generator().manual_seed(2)).detach())

    assert cost(1.0, 1.0) == pytest.approx(cost(1.0, 0.0), rel=1e-5)
    near = 1 - FAR_SHARE
    assert cost(-1.0, 1.0) - cost(-1.0, 0.0) == pytest.approx(4 * near, rel=0.06)


def torus_knot(windings: int, n: int, seed: int) -> Tensor:
    """The torus knot (2, windings), evenly in its parameter; its diameter is 6."""
    t = 2 * math.pi * torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    radius = 2 + (windings * t).cos()
    return torch.stack([radius * (2 * t).cos(), radius * (2 * t).sin(), (windings * t).sin()], -1)


def test_a_short_training_finds_a_knot_of_five_windings():
    """Without units that start at the reach it is some per cent of the diameter off after ten times the steps, and in pieces."""
    settings = Settings(steps=400, batch_size=256, rate=5e-3)
    fitted = fit_implicit(torus_knot(5, 2000, 1), 1, settings=settings, generator=torch.Generator().manual_seed(0), quiet=True)
    true = torus_knot(5, 300, 2)
    found = fitted.manifold.with_fast_projection().project(true)
    assert found.converged.all()
    assert (found.points - true).norm(dim=1).mean() < 0.006 * 6


@pytest.mark.slow
@pytest.mark.parametrize("windings", [5, 7])
def test_knots_are_a_thousandth_of_the_diameter_off_at_most_and_have_no_ghosts(windings):
    cloud = torus_knot(windings, 5000, 1)
    fitted = fit_implicit(cloud, 1, generator=torch.Generator().manual_seed(0), quiet=True)
    true = torus_knot(windings, 1000, 2)
    assert (fitted.manifold.project(true).points - true).norm(dim=1).mean() < 0.001 * 6
    assert audit(fitted.manifold, cloud, n_starts=2000, generator=torch.Generator().manual_seed(3)).share < 0.005
