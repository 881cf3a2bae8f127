"""The reconstruction rule: its constants from the theorem, right counts where the reach is given, no answer where it is not."""

import math

import pytest
import torch

from topogen.topology.inference.reconstruction import Reconstruction
from topogen.topology.inference.rules import Rule
from topogen.topology.persistence.persistence import persistence


def circle(n, radius=1.0):
    t = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    return radius * torch.stack([t.cos(), t.sin()], 1)


CECH, RIPS = Rule("cech", 1.0, 100.0), Rule("rips", math.sqrt(2), 100.0)


def test_constants_without_noise():
    cech, rips = Reconstruction(CECH, 1.0, 0.0), Reconstruction(RIPS, 1.0, 0.0)
    assert (cech.near, cech.far, cech.reach) == pytest.approx((1.5, 2.0, 2.5))
    assert (rips.near, rips.far, rips.reach) == pytest.approx((1.309, 1.851, 2.927), abs=1e-3)
    assert cech.reach < CECH.reach
    assert rips.reach < RIPS.reach / 1.9


@pytest.mark.parametrize("rule", [CECH, RIPS])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("room", [1.0, 1.2, 3.0, 50.0])
def test_the_interval_lies_in_that_of_the_theorem(rule, noise, room):
    """For every reach R >= k eps balls of radius a eps to w a eps retract onto the set."""
    found = Reconstruction(rule, 1.0, noise)
    reach, width = room * found.reach, 4 / 3 if rule.filtration == "cech" else rule.theta**2
    delta = 2 * (reach - noise) ** 2 - (reach + 1) ** 2
    assert delta > 0
    assert (reach + 1 - math.sqrt(delta)) / 2 <= found.near * (1 + 1e-9)
    assert width * found.near <= (reach + 1 + math.sqrt(delta)) / 2 * (1 + 1e-9)


@pytest.mark.parametrize("engine", ["alpha", "rips"])
def test_circles_at_the_sparsest_that_the_rule_allows(engine):
    """Evenly spaced points of a unit circle: eps is half a step; decided down to a dozen points, never wrong below."""
    rule = Rule("cech", 1.0, 1.0) if engine == "alpha" else Rule("rips", math.sqrt(4 / 3), 1.0)
    decided = []
    for n in range(4, 30):
        eps = 2 * math.sin(math.pi / (2 * n))
        found = Reconstruction(rule, eps, 0.0).read(persistence(circle(n), max_degree=1, fields=(2,), engine=engine)[2])
        assert found.betti in ((1, 1), (None, None))
        assert (found.limit is None) == found.decided
        decided += [n] * found.decided
    assert decided == list(range(decided[0], 30))
    assert decided[0] <= 12


def test_a_reach_that_the_points_deny_leaves_it_open():
    diagram = persistence(circle(100), max_degree=1, fields=(2,), engine="alpha")[2]
    eps = 2 * math.sin(math.pi / 200)
    assert Reconstruction(Rule("cech", 1.0, 1.0), eps, 0.0).read(diagram).betti == (1, 1)
    found = Reconstruction(Rule("cech", 1.0, 1.0), eps, 0.0, seen=0.05).read(diagram)
    assert found.betti == (None, None)
    assert found.limit == pytest.approx(0.02)
    assert "the points show a reach below 2.5 eps; needs eps < 0.02" in found.reason


def test_a_bar_at_a_part_of_the_interval_leaves_it_open():
    """A gap of .4 in a circle, with eps = .12 said of it: the loop closes at .2, within [.18, .24]."""
    found = Reconstruction(Rule("cech", 1.0, 1.0), 0.12, 0.0).read(gapped())
    assert found.betti[1] is None
    assert "neither noise nor spanning" in found.reason


def test_a_loop_that_begins_after_eps_leaves_it_open():
    """The same gap with eps = .15: the loop is there on all of [.225, .3], but no set within eps of the points closes before .2."""
    found = Reconstruction(Rule("cech", 1.0, 1.0), 0.15, 0.0).read(gapped())
    assert found.betti == (1, None)
    assert "after 0.15" in found.reason
    assert found.limit == pytest.approx(math.sin(0.2) / 2)


def gapped():
    t = torch.linspace(0.2, 2 * math.pi - 0.2, 200, dtype=torch.float64)
    return persistence(torch.stack([t.cos(), t.sin()], 1), max_degree=1, fields=(2,), engine="alpha")[2]
