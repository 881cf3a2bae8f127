"""Plane jumps: exact laws on truths in closed form, the defects that break them, tangency, false zeros, seeds.

The plane (A, w) is drawn without the chain, so the sharpest test is invariance: starts drawn exactly from the law, a few jumps, the law again. Errors are
those of independent chains; every statistical test says its bound.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import LinkedCircles, Torus
from topogen.sampling import TangentRandomWalk, run_chains, sample
from topogen.sampling.connected_components import connected_components
from topogen.sampling.kernels import jumps
from topogen.sampling.kernels.jumps import PlaneJump

SHAPE = Torus(1.0, 0.5)
CENTRE = torch.tensor([4.0, 0.0], dtype=torch.float64)


def flat(x: Tensor) -> Tensor:
    return x.new_zeros(len(x))


def torus(x: Tensor) -> Tensor:
    return ((x[:, :2].norm(dim=1) - 1) ** 2 + x[:, 2] ** 2 - 0.25).unsqueeze(1)


def overcomplete_torus(x: Tensor) -> Tensor:
    """Distance times its gradient: three outputs of rank one, with zeros of the kept section inside the tube."""
    axis = x[:, :2] / x[:, :2].norm(dim=1, keepdim=True)
    spoke = x - torch.cat([axis, torch.zeros_like(axis[:, :1])], 1)
    length = spoke.norm(dim=1, keepdim=True)
    return spoke / length * (length - 0.5)


def ellipse(x: Tensor) -> Tensor:
    return (x[:, :1] ** 2 / 9 + x[:, 1:] ** 2 - 1) / 2


def circles(x: Tensor) -> Tensor:
    """Unit circle around 0 and circle of radius 1/2 around (4, 0)."""
    return ((x.norm(dim=1) - 1) * ((x - CENTRE).norm(dim=1) - 0.5)).unsqueeze(1)


def circle(n: int, generator: torch.Generator) -> Tensor:
    angle = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], 1)


def cosines(points: Tensor) -> Tensor:
    return (points[..., :2].norm(dim=-1) - 1) / 0.5


def score(values: Tensor, truth: float) -> tuple[float, float]:
    """Mean of (n_steps, n_chains) minus the truth in standard errors of independent chains, and that error."""
    per_chain = values.mean(0)
    error = float(per_chain.std() / len(per_chain) ** 0.5)
    return (float(per_chain.mean()) - truth) / error, error


def test_two_circles_share_by_length_from_a_start_on_one() -> None:
    """Share of the small circle is .5 / 1.5 = 1/3 within 3 s.e. (false alarm .3 %), nearly every chain has seen both."""
    generator = torch.Generator().manual_seed(0)
    jump = PlaneJump(ImplicitManifold(circles, 1, 2), flat)
    chains = run_chains(jump, circle(120, generator), 80, 1.0, generator=generator)
    small = (chains.points[..., 0] > 2).double()
    z, error = score(small[25:], 1 / 3)
    assert abs(z) < 3
    assert error < 0.025
    assert int(small.any(0).sum()) >= 110
    assert float(chains.failures.mean()) < 0.01
    assert float(circles(chains.points[-1]).abs().max()) < 1e-9


def test_energy_tilts_the_shares() -> None:
    """U = log 4 on the small circle: its share is (1/2)(1/4) / (1 + (1/2)(1/4)) = 1/9 within 3 s.e. (false alarm .3 %)."""
    generator = torch.Generator().manual_seed(1)
    jump = PlaneJump(ImplicitManifold(circles, 1, 2), lambda x: math.log(4.0) * (x[:, 0] > 2).double(), centre=CENTRE / 2, radius=3.5, starts=16)
    chains = run_chains(jump, circle(200, generator), 100, 1.0, generator=generator)
    z, error = score((chains.points[25:, :, 0] > 2).double(), 1 / 9)
    assert abs(z) < 3
    assert error < 0.01


def test_walls_are_never_entered() -> None:
    """U = inf for x < 0 on the unit circle: half circles left over, E x = 2 / pi within 3 s.e. (false alarm .3 %)."""
    generator = torch.Generator().manual_seed(2)
    start = circle(200, generator)
    start[:, 0].abs_()
    jump = PlaneJump(ImplicitManifold(circles, 1, 2), lambda x: torch.where((x[:, 0] < 0) | (x[:, 0] > 2), torch.inf, 0.0).double(), radius=1.5)
    chains = run_chains(jump, start, 60, 1.0, generator=generator)
    assert bool((chains.points[..., 0] >= 0).all())
    assert abs(score(chains.points[10:, :, 0], 2 / math.pi)[0]) < 3


def test_ellipse_by_length() -> None:
    """E x^2 = 3.476 within 3 s.e. (false alarm .3 %)."""
    generator = torch.Generator().manual_seed(3)
    start = circle(300, generator) * torch.tensor([3.0, 1.0])
    chains = run_chains(PlaneJump(ImplicitManifold(ellipse, 1, 2), flat), start, 60, 1.0, generator=generator)
    z, error = score(chains.points[15:, :, 0] ** 2, 3.476)
    assert abs(z) < 3
    assert error < 0.08


MANIFOLDS = {"regular": ImplicitManifold(torus, 2, 3), "overcomplete": ImplicitManifold(overcomplete_torus, 2, 3), "any manifold": SHAPE}


@pytest.mark.parametrize("name", MANIFOLDS)
def test_torus_stays_invariant(name: str) -> None:
    """E cos phi = .25 after jumps from exact starts, within 3 s.e. (false alarm .3 % each), and no zero off the torus."""
    generator = torch.Generator().manual_seed(4)
    chains = run_chains(PlaneJump(MANIFOLDS[name], flat), SHAPE.sample(300, generator), 12, 1.0, generator=generator)
    z, error = score(cosines(chains.points[2:]), 0.25)
    assert abs(z) < 3
    assert error < 0.03
    assert float(SHAPE.distance(chains.points[-1]).max()) < 1e-8
    assert float(chains.failures.mean()) < 0.01


def test_codimension_two() -> None:
    """Hopf link, jumps in planes, from a start on one circle: both halves get 1/2 within 3 s.e. (false alarm .3 %)."""
    generator = torch.Generator().manual_seed(5)
    shape = LinkedCircles()
    reference = shape.sample(2000, generator)
    first, second = (reference[connected_components(reference) == k] for k in (0, 1))

    def side(x: Tensor) -> Tensor:
        return (torch.cdist(x, second).amin(-1) < torch.cdist(x, first).amin(-1)).double()

    cloud = shape.sample(400, generator)
    start = cloud[side(cloud) == 0][:120]
    chains = run_chains(PlaneJump(shape, flat, starts=12), start, 80, 1.0, generator=generator)
    z, error = score(torch.stack([side(x) for x in chains.points[20:]]), 0.5)
    assert abs(z) < 3
    assert error < 0.03
    assert float(shape.distance(chains.points[-1]).max()) < 1e-8


def test_without_the_determinant_the_law_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted defect: no 1 / |det|. E x^2 on the ellipse is off by more than 5 s.e."""
    monkeypatch.setattr(torch.linalg, "slogdet", lambda m: (m[..., 0, 0], m.new_zeros(m.shape[:-2])))
    generator = torch.Generator().manual_seed(7)
    start = circle(300, generator) * torch.tensor([3.0, 1.0])
    chains = run_chains(PlaneJump(ImplicitManifold(ellipse, 1, 2), flat), start, 40, 1.0, generator=generator)
    assert abs(score(chains.points[15:, :, 0] ** 2, 3.476)[0]) > 5


@pytest.mark.parametrize("defect", [False, True])
def test_starts_must_not_know_the_chain(monkeypatch: pytest.MonkeyPatch, defect: bool) -> None:
    """Four starts per line near the large circle, from the exact law of the two circles: kept within 3 s.e. (false alarm .3 %).

    Planted defect: one of the starts is the chain's own point, so that the small circle is easier to leave than to find; the share is off by more than 5 s.e.
    """
    generator = torch.Generator().manual_seed(11)
    start = circle(1500, generator)
    start[:500] = 0.5 * start[:500] + CENTRE
    if defect:
        monkeypatch.setattr(jumps, "_planes", _stashing(jumps._planes, seen := []))
        monkeypatch.setattr(jumps, "_offsets", _starting_at(jumps._offsets, seen))
    jump = PlaneJump(ImplicitManifold(circles, 1, 2), flat, centre=torch.zeros(2), radius=3.0, starts=4)
    small = (run_chains(jump, start, 40, 1.0, generator=generator).points[..., 0] > 2).double()
    z, _ = score(small[10:], 1 / 3)
    assert int((small[1:] != small[:-1]).sum()) > 1000
    assert abs(z) > 5 if defect else abs(z) < 3


def _stashing(planes: Any, seen: list[Tensor]) -> Any:
    def wrapped(x: Tensor, *rest: object) -> object:
        seen[:] = [x]
        return planes(x, *rest)

    return wrapped


def _starting_at(offsets: Any, seen: list[Tensor]) -> Any:
    def wrapped(planes: Any, *rest: object) -> Tensor:
        result: Tensor = offsets(planes, *rest)
        result[:, 0] = (planes.basis.mT @ (seen[0] - planes.foot).unsqueeze(-1)).squeeze(-1)
        return result

    return wrapped


def test_a_tangent_line_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through (1, 0) along (0, 1) the line only touches the circle; no jump, no NaN, counted."""
    monkeypatch.setattr(jumps, "_directions", lambda n, *rest: torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(n, 2, 1))
    at = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    jump = PlaneJump(ImplicitManifold(circles, 1, 2), flat, centre=torch.zeros(2), radius=1.5)
    moved, failed = [], []
    for seed in range(20):
        proposal = jump.propose((at,), 1.0, torch.Generator().manual_seed(seed))
        assert torch.equal(proposal.state[0][0], at[0])
        moved.append(bool(proposal.state[0][1, 1] < 0))
        failed.append(proposal.failed.tolist())
    assert failed == [[True, False]] * 20
    assert 4 <= sum(moved) <= 16


def occupancies(n: int = 1500) -> tuple[float, float]:
    """Shares of a component with x1 > 0 and of one with x1 < 0 of {x1 x2 x3 = 2, |x|^2 = 9} in R^10 with U = .5 (x1 - .6)^2.

    With a = x1, b = x2, c = 2/(a b) and rho^2 = 9 - a^2 - b^2 - c^2 >= 0, the co-area formula gives the mass rho^5 sqrt(det J J^t) / |a b| da db, where
    |grad x1 x2 x3|^2 = 4 (1/a^2 + 1/b^2 + 1/c^2), |grad |x|^2|^2 = 36 and their product is 12. Midpoint rule, the same to 1e-9 with half the points.
    """
    s = (torch.arange(n, dtype=torch.float64) + 0.5) / n * 3
    a, b = torch.meshgrid(s, s, indexing="ij")
    c = 2 / (a * b)
    square = (9 - a**2 - b**2 - c**2).clamp_min(0)
    det = (144 * (a**-2 + b**-2 + c**-2) - 144).clamp_min(0)
    mass = square**2.5 * det.sqrt() / (a * b)
    plus, minus = (float((mass * torch.exp(-0.5 * (sign * a - 0.6) ** 2)).sum()) for sign in (1, -1))
    return plus / (2 * plus + 2 * minus), minus / (2 * plus + 2 * minus)


def test_four_components_in_ten_dimensions() -> None:
    """Shares .3984, .3984, .1016, .1016 kept within 3 s.e. over walks and jumps (false alarm 1.1 % for four), with at least .3 changes per chain.

    Starts have the shares exactly (stratified), so no burn-in enters; the walk alone would change nothing, and its test is that jumps do.
    """
    plus, minus = occupancies()
    assert plus == pytest.approx(0.398376, abs=1e-5)
    generator = torch.Generator().manual_seed(8)
    manifold = ImplicitManifold(lambda x: torch.stack([x[:, :3].prod(1) - 2, x.square().sum(1) - 9], 1), 8, 10)
    jump, walk = (kernel(manifold, lambda x: 0.5 * (x[:, 0] - 0.6) ** 2) for kernel in (PlaneJump, TangentRandomWalk))
    x, labels = _four_starts(200, plus, generator), []
    for _ in range(50):
        x = run_chains(walk, x, 2, 0.4, generator=generator).points[-1]
        x = run_chains(jump, x, 1, 1.0, generator=generator).points[-1]
        labels.append(2 * (x[:, 0] > 0).long() + (x[:, 1] > 0).long())
    label = torch.stack(labels)
    for component, truth in enumerate((minus, minus, plus, plus)):
        assert abs(score((label == component).double(), truth)[0]) < 3
    assert int((label[1:] != label[:-1]).sum()) > 0.3 * 200
    assert float(manifold.kept_residual(x).max()) < 1e-9


def _four_starts(n: int, plus: float, generator: torch.Generator) -> Tensor:
    signs = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    share = torch.tensor([plus, plus, 0.5 - plus, 0.5 - plus], dtype=torch.float64)
    component = torch.bucketize((torch.arange(n) + 0.5) / n, share.cumsum(0)).clamp(max=3)
    rest = torch.nn.functional.normalize(torch.randn(n, 7, generator=generator, dtype=torch.float64), dim=1)
    return torch.cat([2 ** (1 / 3) * signs[component], (9 - 3 * 2 ** (2 / 3)) ** 0.5 * rest], 1)


def test_same_seed_same_bits_and_states_keep_their_length() -> None:
    start = SHAPE.sample(20, torch.Generator().manual_seed(9))
    before = start.clone()
    one, two = (PlaneJump(SHAPE, flat).propose((start,), 1.0, torch.Generator().manual_seed(10)) for _ in range(2))
    assert torch.equal(one.state[0], two.state[0])
    assert torch.equal(start, before)
    assert len(one.state) == 1
    jump = PlaneJump(SHAPE, flat)
    assert len(jump.propose(jump.begin(start), 1.0, None).state) == 2
    assert bool((one.log_ratio == 0).all())
    assert not bool(one.irreversible.any())


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InvalidInputError, match="starts"):
        PlaneJump(SHAPE, flat, starts=0)
    with pytest.raises(InvalidInputError, match="radius"):
        PlaneJump(SHAPE, flat, radius=-1.0)
    with pytest.raises(InvalidInputError, match="centre"):
        PlaneJump(SHAPE, flat, centre=torch.zeros(2))


@pytest.mark.parametrize("apart", [1.0, 8.0])
def test_chains_from_one_point_find_the_other_piece(apart):
    """Two ovals of Cassini around (-a, 0) and (a, 0), mirror images: half of the chains belong on each."""

    def ovals(p):
        left, right = (((p[:, 0] - s * apart) ** 2 + p[:, 1] ** 2) for s in (-1, 1))
        return (left * right - (0.95 * apart**2) ** 2 * (1 if apart > 1 else 0.64**2 / 0.95**2)).unsqueeze(1)

    m = ImplicitManifold(ovals, 1, 2)
    start = m.project(torch.tensor([[1.3 * apart, 0.1]], dtype=torch.float64)).points.repeat(50, 1)
    chains = sample(m, None, start=start, n_steps=400, kernel="random_walk", jumps=5, generator=torch.Generator().manual_seed(0))
    share = (chains.points[150:, :, 0] > 0).double().mean(0)
    assert abs(float(share.mean()) - 0.5) < 5 * float(share.std()) / 50**0.5
    assert float(share.std()) > 0, "no chain ever moved to the other piece"
