"""The tangent move: it lands on the manifold along the normals of its start, its way back is tangent and leads home, and failures are said."""

import pytest
import torch

from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Torus
from topogen.sampling.kernels import moves
from topogen.sampling.kernels.moves import Mover, NormalFrame

SHAPE = Torus(1.0, 0.5)


def spokes(x):
    ring = x[:, :2] / x[:, :2].norm(dim=1, keepdim=True)
    return x - torch.cat([ring, torch.zeros_like(ring[:, :1])], 1)


def overcomplete(x):
    spoke = spokes(x)
    length = spoke.norm(dim=1, keepdim=True)
    return spoke / length * (length - 0.5)


def orthogonal(n):
    """X X^t = 1 as n (n + 1) / 2 equations: SO(n) and its mirror image."""
    rows, columns = torch.triu_indices(n, n)

    def constraint(x):
        matrix = x.reshape(-1, n, n)
        return (matrix @ matrix.mT - torch.eye(n, dtype=x.dtype))[:, rows, columns]

    return ImplicitManifold(constraint, n * (n - 1) // 2, n * n)


def rotations(n, count, generator):
    q = torch.linalg.qr(torch.randn(count, n, n, generator=generator, dtype=torch.float64))[0]
    q[:, 0] *= torch.linalg.det(q).sign().unsqueeze(1)
    return q.reshape(count, n * n)


TORUS = ImplicitManifold(lambda x: spokes(x).square().sum(1, keepdim=True) - 0.25, 2, 3)
CASES = {
    "regular": (TORUS, SHAPE.sample),
    "overcomplete": (ImplicitManifold(overcomplete, 2, 3), SHAPE.sample),
    "any manifold": (SHAPE, SHAPE.sample),
    "SO(4)": (orthogonal(4), lambda n, generator: rotations(4, n, generator)),
}


@pytest.fixture(params=list(CASES))
def case(request):
    """Mover, points, frames and unit ambient noise."""
    manifold, sample = CASES[request.param]
    generator = torch.Generator().manual_seed(0)
    x = sample(200, generator)
    mover = Mover(manifold)
    return mover, x, mover.place(x), torch.randn(x.shape, generator=generator, dtype=torch.float64)


def unbounded(x):
    return x.new_full(x.shape[:1], torch.inf)


def test_tangent_is_the_projector_of_the_manifold(case):
    mover, x, frame, noise = case
    v = mover.tangent(frame, noise)
    assert torch.allclose(v, mover.manifold.proju(x, noise), atol=1e-9)
    assert torch.allclose(mover.tangent(frame, v), v, atol=1e-12)


def test_short_moves_land_and_return(case):
    mover, x, frame, noise = case
    v = 0.05 * mover.tangent(frame, noise)
    landing = mover.move(x, frame, v, unbounded(x))
    y = landing.points
    assert float((landing.failed | landing.irreversible).double().mean()) < 0.02
    good = ~(landing.failed | landing.irreversible)
    assert float((mover.manifold.project(y).points - y).norm(dim=1).max()) < 1e-8
    assert float(mover.tangent(frame, y - x - v)[good].norm(dim=1).max()) < 1e-9, "the correction is normal at the start"
    assert torch.allclose(landing.back, mover.tangent(landing.frame, x - y), atol=1e-12)
    home = mover.move(y, landing.frame, landing.back, unbounded(x))
    assert float((home.points - x)[good].norm(dim=1).max()) <= mover.reversal_tolerance
    assert torch.allclose(home.back[good], -(-v)[good], atol=1e-7), "the way back of the way back is the way"


def test_long_moves_fail_or_do_not_return_and_stay(case):
    mover, x, frame, noise = case
    landing = mover.move(x, frame, 2.0 * mover.tangent(frame, noise), unbounded(x))
    assert bool(landing.failed.any())
    assert not bool((landing.failed & landing.irreversible).any())
    assert torch.equal(landing.points[landing.failed], x[landing.failed])
    assert bool(torch.isfinite(landing.points).all())


def test_rows_do_not_depend_on_their_batch(case):
    mover, x, frame, noise = case
    v = 0.4 * mover.tangent(frame, noise)
    together = mover.move(x, frame, v, unbounded(x))
    for k in (0, 7):
        at = slice(k, k + 1)
        alone = mover.move(x[at], NormalFrame(*(part[at] for part in frame)), v[at], unbounded(x[at]))
        assert bool(alone.failed) == bool(together.failed[k]) and bool(alone.irreversible) == bool(together.irreversible[k])
        assert torch.allclose(alone.points, together.points[at], atol=1e-11)


def test_inputs_are_not_changed(case):
    mover, x, frame, noise = case
    kept = [part.clone() for part in (x, *frame, noise)]
    mover.move(x, frame, noise, unbounded(x))
    assert all(torch.equal(a, b) for a, b in zip((x, *frame, noise), kept, strict=True))


def test_some_moves_on_a_torus_have_no_way_back():
    """Step .5 on the torus: 29 % lost, about 1 to 3 % not reversible (measured), which is what the check is for."""
    generator = torch.Generator().manual_seed(1)
    mover, x = Mover(TORUS), SHAPE.sample(4000, generator)
    frame = mover.place(x)
    v = 0.5 * mover.tangent(frame, torch.randn(x.shape, generator=generator, dtype=torch.float64))
    landing = mover.move(x, frame, v, unbounded(x))
    assert 0.003 < float(landing.irreversible.double().mean()) < 0.05
    assert 0.2 < float(landing.failed.double().mean()) < 0.6


def test_tolerances_are_tied_to_the_scale_of_the_manifold():
    large = ImplicitManifold(lambda x: (x / 100).square().sum(1, keepdim=True) * 50 - 50, 2, 3, scale=100.0)
    for manifold in (TORUS, large):
        mover = Mover(manifold)
        assert mover.tolerance == manifold.tolerance(torch.float64)
        assert mover.reversal_tolerance == 20 * mover.tolerance


def test_an_overcomplete_constraint_is_left_only_onto_its_sheet():
    """Inside the tube the kept section vanishes where |F| does not: such landings are failures."""
    generator = torch.Generator().manual_seed(2)
    manifold = CASES["overcomplete"][0]
    mover, x = Mover(manifold), SHAPE.sample(1500, generator)
    frame = mover.place(x)
    v = 0.5 * mover.tangent(frame, torch.randn(x.shape, generator=generator, dtype=torch.float64))
    bound = x.new_full((len(x),), 1e-6)
    kept = mover.move(x, frame, v, bound)
    assert float(SHAPE.distance(kept.points).max()) < 1e-8
    assert bool((mover.move(x, frame, v, -bound).failed).all()), "no landing is within a negative bound"


def test_many_constraints_spread_by_backward_passes_alike(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    mover, x = Mover(orthogonal(5)), rotations(5, 20, generator)
    frame = mover.place(x)
    v = 0.1 * mover.tangent(frame, torch.randn(x.shape, generator=generator, dtype=torch.float64))
    dense = mover.move(x, frame, v, unbounded(x))
    monkeypatch.setattr(moves, "_DENSE", 0)
    lean = mover.move(x, frame, v, unbounded(x))
    assert not bool(dense.failed.any()) and torch.equal(dense.failed, lean.failed)
    assert torch.allclose(dense.points, lean.points, atol=1e-10)


@pytest.mark.parametrize(
    "constraint",
    [lambda x: (x[:, 0] * x[:, 1]).unsqueeze(1), lambda x: torch.stack([x[:, 0] * x[:, 1], x[:, 2]], 1)],
    ids=["one", "two"],
)
def test_from_singular_points_every_move_fails(constraint):
    x = torch.zeros(3, 3, dtype=torch.float64)
    outputs = constraint(x).shape[1]
    mover = Mover(ImplicitManifold(constraint, 3 - outputs, 3))
    landing = mover.move(x, mover.place(x), torch.ones_like(x), unbounded(x))
    assert bool(landing.failed.all()) and torch.equal(landing.points, x)
