"""Distances, logarithms and geodesics against closed forms and against independent shooting."""

import copy
import gc
import math
import pickle
import time
import weakref

import pytest
import torch

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds import Gate, GeodesicSolver, ImplicitManifold, shapes
from topogen.manifolds.base import Manifold, Projection
from topogen.manifolds.geodesic_solver import solver_near

TORUS = shapes.Torus(1.0, 0.5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sphere_equation(x):
    return (x.square().sum(-1, keepdim=True) - 1) / 2


def implicit_sphere():
    return ImplicitManifold(sphere_equation, 2, 3)


def angle(x, y):
    return 2 * torch.atan2((x - y).norm(dim=-1), (x + y).norm(dim=-1))


def relative(found, truth):
    return ((found - truth) / truth).abs()


def embed(angles):
    """Points of the torus R = 1, r = .5 at angles (..., 2) around the axis and around the tube."""
    around, tube = angles.unbind(-1)
    rho = 1 + 0.5 * tube.cos()
    return torch.stack([rho * around.cos(), rho * around.sin(), 0.5 * tube.sin()], -1)


def geodesic_equation(state):
    _, tube, da, dt = state.unbind(-1)
    rho = 1 + 0.5 * tube.cos()
    return torch.stack([da, dt, tube.sin() / rho * da * dt, -2 * rho * tube.sin() * da**2], -1)


def shoot(angles, direction, length, steps):
    """Angles along the geodesics of the torus from `angles` in `direction`, after each of `steps` Runge-Kutta steps up to `length`."""
    rho = 1 + 0.5 * angles[..., 1].cos()
    state = torch.cat([angles, torch.stack([direction.cos() / rho, direction.sin() / 0.5], -1)], -1)
    h = (length / steps).unsqueeze(-1)
    track = [state[..., :2]]
    for _ in range(steps):
        k1 = geodesic_equation(state)
        k2 = geodesic_equation(state + h / 2 * k1)
        k3 = geodesic_equation(state + h / 2 * k2)
        k4 = geodesic_equation(state + h * k3)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        track.append(state[..., :2])
    return torch.stack(track, -2)


def shot_distance(start, target, longest=5.0, fan=720):
    """Distance on the torus from angles (2,) to a point (3,): all geodesics of a fan that pass near it, corrected to hit it, the shortest."""
    directions = torch.arange(fan, dtype=torch.float64) * 2 * math.pi / fan
    track = embed(shoot(start.expand(fan, 2), directions, torch.full((fan,), longest, dtype=torch.float64), 250))
    missed, when = (track - target).norm(dim=-1)[:, 1:].min(-1)
    near = missed.argsort()[:120]
    guess = torch.stack([directions[near], (when[near] + 1) * longest / 250], -1)
    for _ in range(8):
        base, *moved = (
            embed(shoot(start.expand(len(g), 2), g[:, 0], g[:, 1], 60)[:, -1])
            for g in (guess, guess + torch.tensor([1e-6, 0.0], dtype=torch.float64), guess + torch.tensor([0.0, 1e-6], dtype=torch.float64))
        )
        jacobian = torch.stack([(m - base) / 1e-6 for m in moved], -1)
        step = torch.linalg.pinv(jacobian, rtol=1e-6) @ (target - base).unsqueeze(-1)
        guess = guess + step.squeeze(-1).clamp(-0.2, 0.2)
    hits = ((base - target).norm(dim=-1) < 1e-8) & (guess[:, 1] > 0)
    return guess[hits, 1].min()


def test_distances_on_an_implicit_sphere():
    x, y = shapes.Sphere().sample(100, generator(1)), shapes.Sphere().sample(100, generator(2))
    found = implicit_sphere().dist(x, y)
    assert float(relative(found, angle(x, y)).mean()) < 1e-8
    assert float(relative(found, angle(x, y)).max()) < 1e-6


def test_distances_on_the_torus_are_those_of_independent_shooting():
    angles = 2 * math.pi * torch.rand(20, 2, generator=generator(3), dtype=torch.float64)
    x, y = embed(angles), TORUS.sample(20, generator(4))
    truth = torch.stack([shot_distance(a, b) for a, b in zip(angles, y, strict=True)])
    error = relative(TORUS.dist(x, y), truth)
    assert float(error.median()) < 1e-6
    assert float(error.max()) < 1e-4


def test_a_thousand_distances_on_the_torus_in_a_minute():
    x, y = TORUS.sample(1000, generator(5)), TORUS.sample(1000, generator(6))
    started = time.perf_counter()
    paths = TORUS.geodesics().paths(x, y)
    assert time.perf_counter() - started < 60
    assert bool(paths.converged.all())
    assert bool((paths.lengths >= (x - y).norm(dim=-1)).all())
    back = TORUS.dist(y, x)
    assert float(relative(back, paths.lengths).max()) < 1e-4


def test_distances_obey_the_triangle_inequality_and_symmetry():
    klein = shapes.KleinBottle()
    x, y, z = (klein.sample(8, generator(seed)) for seed in (7, 8, 9))
    xy, yz, xz = klein.dist(x, y), klein.dist(y, z), klein.dist(x, z)
    assert float((xz - xy - yz).max()) < 1e-6
    assert float(relative(klein.dist(y, x), xy).max()) < 1e-6
    assert float(klein.dist(x, x).max()) < 1e-9


@pytest.mark.parametrize("shape", [shapes.Circle(2.0), shapes.Sphere(2, 3.0), shapes.Sphere(3), shapes.FlatTorus(2)], ids=lambda shape: shape.name)
def test_closed_forms_agree_with_the_search(shape):
    x, y = shape.sample(20, generator(1)), shape.sample(20, generator(2))
    v, search = shape.logmap(x, y), shape.geodesics()
    assert torch.allclose(shape.expmap(x, v), y, atol=1e-12)
    assert torch.allclose(v.norm(dim=-1), shape.dist(x, y), atol=1e-12)
    assert float(relative(search.dist(x, y), shape.dist(x, y)).max()) < 1e-6
    assert float((search.logmap(x, y) - v).norm(dim=-1).max()) < 1e-4 * shape.diameter
    assert torch.allclose(Manifold.expmap(shape, x, v), y, atol=1e-4 * shape.diameter)
    assert shape.dist(x, y, keepdim=True).shape == (20, 1)


def test_antipodes_and_equal_points_in_closed_form():
    sphere = shapes.Sphere()
    x = sphere.sample(5, generator())
    assert torch.allclose(sphere.expmap(x, sphere.logmap(x, -x)), -x, atol=1e-12)
    assert torch.allclose(sphere.logmap(x, -x).norm(dim=-1), torch.tensor(math.pi, dtype=torch.float64))
    assert float(sphere.logmap(x, x).norm(dim=-1).max()) < 1e-12


@pytest.mark.parametrize("manifold", [implicit_sphere(), TORUS, shapes.KleinBottle(), shapes.SpecialOrthogonal(3)], ids=lambda manifold: manifold.name)
def test_exponential_undoes_the_logarithm(manifold):
    sample = shapes.Sphere().sample if isinstance(manifold, ImplicitManifold) else manifold.sample
    x, y = sample(8, generator(1)), sample(8, generator(2))
    v = manifold.logmap(x, y)
    assert torch.allclose(manifold.proju(x, v), v, atol=1e-10)
    missed = (manifold.expmap(x, v) - y).norm(dim=-1)
    assert float(missed.quantile(0.8)) < 1e-6
    assert float(relative(v.norm(dim=-1), manifold.dist(x, y)).median()) < 1e-4


def test_five_points_on_a_circle_are_equally_far():
    circle = ImplicitManifold(sphere_equation, 1, 2)
    turn = torch.arange(6, dtype=torch.float64) * 2 * math.pi / 5
    points = torch.stack([turn.cos(), turn.sin()], -1)
    found = circle.dist(points[:-1], points[1:])
    assert float(relative(found, torch.tensor(2 * math.pi / 5, dtype=torch.float64)).max()) < 1e-6


def test_geodesics_have_equal_steps_and_stay_on_the_manifold():
    x, y = TORUS.sample(10, generator(1)), TORUS.sample(10, generator(2))
    nodes = TORUS.geodesic(x, y, 20)
    assert nodes.shape == (10, 20, 3)
    assert torch.allclose(nodes[:, 0], x, atol=1e-9) and torch.allclose(nodes[:, -1], y, atol=1e-9)
    assert float(TORUS.distance(nodes).max()) < 1e-9
    steps = (nodes[:, 1:] - nodes[:, :-1]).norm(dim=-1)
    assert float((steps.amax(-1) / steps.amin(-1)).max()) < 1.02


def test_pieces_that_no_path_joins_are_infinitely_far():
    spheres = shapes.TwoSpheres()
    points = spheres.sample(60, generator())
    x, y = points[:30], points[30:]
    search = spheres.geodesics()
    paths = search.paths(x, y)
    apart = torch.isinf(paths.lengths)
    assert 5 < int(apart.sum()) < 25
    side = points[:, 0] > points[:, 0].mean()
    assert torch.equal(apart, side[:30] != side[30:])
    assert not bool(paths.converged[apart].any()) and bool(paths.converged[~apart].all())
    assert torch.equal(search.logmap(x, y).isnan().any(-1), apart)


def test_without_known_points_the_surroundings_are_searched():
    sphere = implicit_sphere()
    with pytest.raises(InvalidInputError, match="points"):
        sphere.geodesics()
    x = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    y = torch.tensor([[0.0, 1.0, 0.0], [-0.6, 0.0, -0.8]], dtype=torch.float64)
    assert torch.allclose(sphere.dist(x, y), angle(x, y), atol=1e-7)


def test_a_graph_is_made_once_per_manifold_and_copies_look_again():
    sphere = implicit_sphere()
    x, y = shapes.Sphere().sample(2, generator(1))
    graph = solver_near(sphere, x, y).graph
    assert solver_near(sphere, y, x).graph is graph
    other = copy.copy(sphere)
    other._modules = dict(sphere._modules)
    assert solver_near(other, x, y).graph is not graph and solver_near(sphere, x, y).graph is graph


def test_given_points_do_not_change_the_manifold():
    sphere = implicit_sphere()
    x, y = shapes.Sphere().sample(40, generator(1)).split(20)
    before = sphere.dist(x, y)
    attributes = set(vars(sphere))
    search = sphere.geodesics(shapes.Sphere().sample(30, generator(2)), starts=1)
    assert torch.equal(sphere.dist(x, y), before) and set(vars(sphere)) == attributes
    assert torch.equal(GeodesicSolver(sphere, search.graph, starts=1).dist(x, y), search.dist(x, y))


def test_a_graph_does_not_keep_its_manifold_alive():
    sphere = implicit_sphere()
    x, y = shapes.Sphere().sample(2, generator(1))
    sphere.dist(x, y)
    alive = weakref.ref(sphere)
    del sphere
    gc.collect()
    assert alive() is None


def test_pickled_manifolds_have_distances():
    assert float(pickle.loads(pickle.dumps(TORUS)).dist(TORUS.sample(2, generator()), TORUS.sample(2, generator())).max()) < 1e-9


def test_derivatives_of_the_distance_are_the_unit_tangents():
    x, y = TORUS.sample(6, generator(1)), TORUS.sample(6, generator(2))
    search = TORUS.geodesics()
    a, b = x.clone().requires_grad_(True), y.clone().requires_grad_(True)
    search.dist(a, b).sum().backward()
    t = TORUS.tangent_basis(x)[..., 0]
    h = 1e-4
    change = (search.dist(TORUS.projx(x + h * t), y) - search.dist(TORUS.projx(x - h * t), y)) / (2 * h)
    assert torch.allclose((a.grad * t).sum(-1), change, atol=1e-3)
    assert torch.allclose(a.grad.norm(dim=-1), torch.ones(6, dtype=torch.float64)) and torch.allclose(b.grad.norm(dim=-1), torch.ones(6, dtype=torch.float64))


def test_shapes_dtypes_and_singles():
    x, y = TORUS.sample(6, generator(1)), TORUS.sample(6, generator(2))
    whole = TORUS.dist(x, y)
    assert torch.allclose(torch.cat([TORUS.dist(x[i : i + 1], y[i : i + 1]) for i in range(6)]), whole, atol=1e-8)
    assert TORUS.dist(x.reshape(2, 3, 3), y.reshape(2, 3, 3), keepdim=True).shape == (2, 3, 1)
    assert TORUS.dist(x[0], y).shape == (6,) and TORUS.dist(x[0], y[0]).shape == ()
    assert TORUS.dist(x[:0], y[:0]).shape == (0,) and TORUS.logmap(x[:0], y[:0]).shape == (0, 3)
    single = TORUS.dist(x.float(), y.float())
    assert single.dtype == torch.float32 and torch.allclose(single.double(), whole, rtol=1e-4)
    assert TORUS.logmap(x.float(), y.float()).dtype == torch.float32
    assert TORUS.geodesic(x.reshape(2, 3, 3), y[0], 5).shape == (2, 3, 5, 3)


def test_wrong_arguments_name_themselves():
    x = TORUS.sample(3, generator())
    bad = x.clone()
    bad[1, 0] = torch.nan
    for call, name in (
        (lambda: TORUS.dist(bad, x), "x: 1 of 3"),
        (lambda: TORUS.logmap(x, bad), "y: 1 of 3"),
        (lambda: TORUS.dist(x, x[:2]), "does not broadcast"),
        (lambda: TORUS.dist(x, x.float()), "dtype"),
        (lambda: TORUS.dist(x, x[:, :2]), "expected shape"),
        (lambda: shapes.Sphere().dist(bad, x), "x: 1 of 3"),
        (lambda: TORUS.geodesic(x, x, 1), "n_nodes"),
        (lambda: GeodesicSolver(TORUS, x[:0]), "points"),
        (lambda: GeodesicSolver(TORUS, x, n_nodes=20), "n_nodes"),
        (lambda: GeodesicSolver(TORUS, x, starts=0), "starts"),
        (lambda: GeodesicSolver(TORUS, x).interpolate(x, x, torch.tensor([2.0])), "t: expected"),
        (lambda: TORUS.parallel_transport(x, x[:, :2]), "nodes, v"),
    ):
        with pytest.raises(InvalidInputError, match=name):
            call()


def test_exponential_keeps_its_speed_and_closes_a_great_circle():
    sphere = implicit_sphere()
    x = shapes.Sphere().sample(3, generator(1))
    u = sphere.proju(x, torch.randn(x.shape, generator=generator(2), dtype=x.dtype))
    u = u / u.norm(dim=-1, keepdim=True)
    assert float((sphere.expmap(x, 2 * math.pi * u) - x).norm(dim=-1).max()) < 1e-2
    h, stages = 1e-3, torch.linspace(0.2, 1, 3, dtype=torch.float64)
    ahead, behind = (sphere.expmap(x.expand(3, 3, 3), (stages * math.pi + d)[:, None, None] * u) for d in (h, -h))
    assert float(((ahead - behind).norm(dim=-1) / (2 * h) - 1).abs().max()) < 1e-3


def test_transport_around_a_spherical_triangle_turns_by_its_area():
    sphere = implicit_sphere()
    corners = torch.eye(3, dtype=torch.float64)
    t = torch.linspace(0, math.pi / 2, 20, dtype=torch.float64)[:, None]
    sides = [t.cos() * corners[i] + t.sin() * corners[(i + 1) % 3] for i in range(3)]
    loop = torch.cat([sides[0], sides[1][1:], sides[2][1:]])
    v = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.3, -2.0]], dtype=torch.float64)
    w = sphere.parallel_transport(loop, v)
    turn = torch.linalg.cross(v, w) @ corners[0] / (v * v).sum(-1)
    assert torch.allclose(w @ w.T, v @ v.T, atol=1e-12)
    assert torch.allclose(turn, torch.ones(2, dtype=torch.float64), atol=1e-9)
    assert torch.allclose((v * w).sum(-1), torch.zeros(2, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(sphere.parallel_transport(loop, v[0]), w[0], atol=1e-12)


def test_transport_carries_a_geodesics_own_tangent():
    x, y = TORUS.sample(10, generator(1)), TORUS.sample(10, generator(2))
    nodes = TORUS.geodesic(x, y, 200)
    search = TORUS.geodesics()
    carried = TORUS.parallel_transport(nodes, search.logmap(x, y))
    assert float((carried + search.logmap(y, x)).norm(dim=-1).div(carried.norm(dim=-1)).max()) < 5e-3


@pytest.mark.parametrize(
    "manifold", [shapes.Torus(1.0, 0.5), ImplicitManifold(lambda x: ((x[:, :2].norm(dim=-1) - 1) ** 2 + x[:, 2] ** 2 - 0.25)[:, None], 2, 3)]
)
def test_gauss_curvature_of_the_torus(manifold):
    angles = 2 * math.pi * torch.rand(40, 2, generator=generator(), dtype=torch.float64)
    tube = angles[:, 1].cos()
    assert torch.allclose(manifold.gauss_curvature(embed(angles)), tube / (0.5 * (1 + 0.5 * tube)), atol=1e-6)


def test_gauss_curvature_elsewhere():
    x = shapes.Sphere(2, 2.0).sample(5, generator())
    assert torch.allclose(shapes.Sphere(2, 2.0).gauss_curvature(x), torch.full((5,), 0.25, dtype=torch.float64), atol=1e-7)
    flat = shapes.FlatTorus(2)
    assert float(flat.gauss_curvature(flat.sample(5, generator())).abs().max()) < 1e-7
    assert shapes.Sphere().gauss_curvature(x.float() / 2).dtype == torch.float32
    with pytest.raises(NotSupportedError, match="surfaces"):
        shapes.Sphere(3).gauss_curvature(torch.ones(1, 4))


class _Plane(Manifold):
    """A half of the plane z = 0 of R^3: projections to x < 0 do not converge."""

    def __init__(self):
        super().__init__(2, 3)

    def _project(self, x):
        flat = x * torch.tensor([1.0, 1.0, 0.0], dtype=x.dtype)
        return Projection(flat, torch.zeros_like(x[:, 0]), x[:, 0].detach() >= 0, torch.zeros(len(x), dtype=torch.int64))

    def _tangent_basis(self, x):
        return torch.eye(3, dtype=x.dtype)[:, :2].expand(len(x), 3, 2)


def test_flat_pieces_give_chords():
    x, y = torch.tensor([[0.5, 0.0, 0.0]], dtype=torch.float64), torch.tensor([[2.0, 2.0, 0.0]], dtype=torch.float64)
    plane = _Plane()
    assert torch.allclose(plane.dist(x, y), (x - y).norm(dim=-1))
    assert torch.allclose(plane.logmap(x, y), y - x, atol=1e-9)


def test_the_swiss_roll_unrolls_to_a_rectangle():
    roll = shapes.SwissRoll()
    x, y = roll.sample(12, generator(1)), roll.sample(12, generator(2))

    def unrolled(points):
        t = points[:, ::2].norm(dim=-1) / roll.scale
        return torch.stack([roll.scale * (t * (1 + t**2).sqrt() + t.asinh()) / 2, points[:, 1]], -1)

    paths = roll.geodesics().paths(x, y)
    assert bool(paths.converged.all())
    assert float(relative(paths.lengths, (unrolled(x) - unrolled(y)).norm(dim=-1)).max()) < 1e-4


def test_a_gate_lends_its_anchors():
    anchors = shapes.Sphere().sample(1500, generator())
    anchors = anchors[anchors[:, 2] > -0.3]
    cap = ImplicitManifold(sphere_equation, 2, 3, gate=Gate(anchors, 0.3, 5))
    x, y = anchors[anchors[:, 2] > 0.3][:8].split(4)
    assert torch.allclose(cap.dist(x, y), angle(x, y), atol=1e-7)
    assert len(solver_near(cap, x, y).graph.points) > 700


def test_around_a_hole_the_length_is_an_upper_bound_that_does_not_claim_convergence():
    points = 6 * torch.rand(3000, 3, generator=generator(), dtype=torch.float64) - 3
    points[:, 2] = 0
    search = _Holed().geodesics(points[points.norm(dim=-1) > 1])
    x = torch.tensor([[-2.0, 0.0, 0.0], [-2.0, 2.0, 0.0]], dtype=torch.float64)
    paths = search.paths(x, torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64))
    around = torch.tensor([2 * math.sqrt(3) + math.pi / 3, math.sqrt(20)], dtype=torch.float64)
    assert paths.converged.tolist()[0] is False
    assert bool((paths.lengths > around - 1e-3).all()) and float(relative(paths.lengths, around)[0]) < 0.03


class _Holed(Manifold):
    """The plane z = 0 of R^3 without the unit disc."""

    def __init__(self):
        super().__init__(2, 3)

    def _project(self, x):
        flat = x * torch.tensor([1.0, 1.0, 0.0], dtype=x.dtype)
        return Projection(flat, torch.zeros_like(x[:, 0]), flat.detach().norm(dim=-1) >= 1, torch.zeros(len(x), dtype=torch.int64))

    def _tangent_basis(self, x):
        return torch.eye(3, dtype=x.dtype)[:, :2].expand(len(x), 3, 2)
