"""Truths of the shapes in closed form or by independent means, beyond the laws."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError, NotSupportedError, TopogenError
from topogen.manifolds import shapes
from topogen.manifolds.base import Manifold

GENUS_TWO = shapes.GenusTwo()
PARAMETRIC = [shapes.TrefoilKnot(), shapes.MoebiusBand(), shapes.SwissRoll(), shapes.KleinBottle(), shapes.ProjectivePlane()]


def name_of(shape):
    return shape.name


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_registry():
    assert set(shapes.SHAPES) == {
        *("circle", "linked_circles", "trefoil_knot", "sphere", "three_sphere", "torus", "flat_torus", "genus_two"),
        *("moebius_band", "klein_bottle", "projective_plane", "special_orthogonal", "swiss_roll", "two_spheres"),
    }
    for name in shapes.SHAPES:
        shape = shapes.get(name)
        assert isinstance(shape, shapes.Shape) and shape.dim < shape.ambient_dim
    assert shapes.get("three_sphere").dim == 3
    with pytest.raises(InvalidInputError, match="torus"):
        shapes.get("donut")


@pytest.mark.parametrize(
    ("shape", "volume"),
    [
        (shapes.Circle(2.0), 4 * math.pi),
        (shapes.Sphere(2, 3.0), 36 * math.pi),
        (shapes.Sphere(3), 2 * math.pi**2),
        (shapes.Sphere(1), 2 * math.pi),
        (shapes.Torus(2.0, 0.5), 4 * math.pi**2),
        (shapes.FlatTorus(3), 8 * math.pi**3),
        (shapes.TwoSpheres(0.5), 2 * math.pi),
        (shapes.LinkedCircles(), 4 * math.pi),
        (shapes.SpecialOrthogonal(2), 2 * math.pi * math.sqrt(2)),
        (shapes.SpecialOrthogonal(3), 8 * math.pi**2 * 2**1.5),
        (shapes.KleinBottle(2.0, 1.0), 4 * shapes.KleinBottle().volume),
        (shapes.TrefoilKnot(2.0), 6 * shapes.TrefoilKnot().volume),
        (shapes.SwissRoll(0.2), 4 * shapes.SwissRoll().volume),
        (shapes.ProjectivePlane(2.0), 4 * shapes.ProjectivePlane().volume),
        (shapes.GenusTwo(2.0), 4 * GENUS_TWO.volume),
    ],
)
def test_volumes(shape, volume):
    assert shape.volume == pytest.approx(volume, rel=1e-12)


@pytest.mark.parametrize("shape", PARAMETRIC, ids=name_of)
def test_volumes_by_an_independent_quadrature(shape):
    """Area density from the Jacobian that autograd finds for phi, on a midpoint grid: agrees to the grid's error."""
    box = [(0.0, math.pi / 2, 0), (0.0, 2 * math.pi, 0)] if isinstance(shape, shapes.ProjectivePlane) else shape._box

    def phi(u):
        if isinstance(shape, shapes.ProjectivePlane):
            p, q = u.unbind(-1)
            u = torch.stack([p.cos(), p.sin() * q.cos(), p.sin() * q.sin()], -1)
        return shape.embed(u[None])[0]

    axes = [low + (high - low) * (torch.arange(120, dtype=torch.float64) + 0.5) / 120 for low, high, _ in box]
    u = torch.cartesian_prod(*axes).reshape(-1, len(box))
    jacobian = torch.func.vmap(torch.func.jacfwd(phi))(u)
    density = torch.linalg.det(jacobian.mT @ jacobian).clamp_min(0).sqrt()
    assert float(density.mean()) * math.prod(high - low for low, high, _ in box) == pytest.approx(shape.volume, rel=3e-5)


@pytest.mark.parametrize("shape", PARAMETRIC, ids=name_of)
def test_derivatives_and_density_bounds(shape):
    u = shape._uniform_parameters(2000, generator())
    point, first, second = shape.jet(u[:20])
    jacobian = torch.func.vmap(torch.func.jacfwd(lambda w: shape.embed(w[None])[0]))(u[:20])
    hessian = torch.func.vmap(torch.func.hessian(lambda w: shape.embed(w[None])[0]))(u[:20])
    if isinstance(shape, shapes.ProjectivePlane):
        sphere = (torch.eye(3) - u[:20, :, None] * u[:20, None, :]).unsqueeze(1)
        hessian = sphere @ hessian @ sphere
    for found, truth in ((point, shape.embed(u[:20])), (first, jacobian), (second, hessian)):
        assert torch.allclose(found, truth, atol=1e-12)
    assert float(shape.density(u).max()) <= shape._density_bound * (1 + 1e-12)
    x = shape.embed(u)
    assert float((shape.embed(shape._parameters_on(x)) - x).norm(dim=-1).max()) < 1e-7


def test_genus_two_quadrature_has_converged():
    assert GENUS_TWO.area(32) == pytest.approx(GENUS_TWO.area(48), rel=1e-10)
    assert GENUS_TWO.volume == pytest.approx(31.5647035796295, rel=1e-12)


def test_genus_two_has_genus_two():
    """Marching cubes of the level function: one watertight piece of Euler characteristic -2, its area within .5 % of the quadrature."""
    measure = pytest.importorskip("skimage.measure")
    trimesh = pytest.importorskip("trimesh")
    axes = [torch.linspace(-r, r, n, dtype=torch.float64) for r, n in ((2.6, 131), (1.7, 87), (0.9, 47))]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    vertices, faces, _, _ = measure.marching_cubes(GENUS_TWO.level(grid).numpy(), 0.0, spacing=[float(a[1] - a[0]) for a in axes])
    mesh = trimesh.Trimesh(vertices, faces)
    assert mesh.is_watertight and mesh.euler_number == -2 and mesh.body_count == 1
    assert mesh.area == pytest.approx(GENUS_TWO.volume, rel=5e-3)


def test_genus_two_sampling_bound_holds():
    from topogen.manifolds.shapes.genus_two import _patch

    u = torch.rand(20000, 3, generator=generator(), dtype=torch.float64)
    density = _patch((5 * u[:, 0]).long(), u[:, 1:])[1]
    assert 0.9 * GENUS_TWO._density_bound / 1.05 < float(density.max()) < GENUS_TWO._density_bound
    assert float(density.min()) > 0


@pytest.mark.parametrize(
    ("shape", "x"),
    [
        (shapes.Circle(), [[0.0, 0.0]]),
        (shapes.Sphere(3), [[0.0] * 4]),
        (shapes.Torus(), [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        (shapes.FlatTorus(), [[0.0, 0.0, 1.0, 0.0], [0.0] * 4]),
        (shapes.TwoSpheres(), [[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]),
        (shapes.LinkedCircles(), [[0.5, 0.0, 0.0], [0.0, 0.0, 5.0]]),
        (shapes.SpecialOrthogonal(), [[0.0] * 9, [1.0, 0, 0, 0, 1, 0, 0, 0, -1]]),
        (shapes.TrefoilKnot(), [[0.0, 0.0, 0.0]]),
        (shapes.KleinBottle(), [[0.0] * 4, [1.0, 0, 0, 0]]),
        (shapes.ProjectivePlane(), [[0.0] * 4]),
        (shapes.MoebiusBand(), [[0.0, 0.0, 0.0]]),
        (GENUS_TWO, [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
    ],
)
def test_medial_points_have_a_nearest_point_and_no_nan(shape, x):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    projection = shape.project(x)
    projection.points.sum().backward()
    assert bool(torch.isfinite(projection.points).all()) and bool(torch.isfinite(x.grad).all())
    assert float(shape.distance(projection.points.detach()).max()) < 1e-9
    cloud = shape.sample(20000, generator())
    nearest = torch.cdist(x.detach(), cloud).amin(-1)
    assert bool((shape.distance(x.detach()) <= nearest + 1e-9).all()), "not a nearest point"


def test_unflagged_is_never_wrong_in_closed_forms():
    """Where the nearest point is not unique the closed forms say so."""
    assert not shapes.Circle().project(torch.zeros(2)).converged
    assert shapes.Torus().project(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.3], [1.1, 0.0, 0.0]])).converged.tolist() == [False, False, True]
    assert not shapes.SpecialOrthogonal().project(torch.zeros(9)).converged


@pytest.mark.parametrize("shape", [shapes.MoebiusBand(), shapes.SwissRoll()], ids=name_of)
def test_points_beyond_the_edge_project_to_the_edge(shape):
    low, high = (torch.tensor(side, dtype=torch.float64) for side in list(zip(*shape._box, strict=True))[:2])
    u = low + (high - low) * torch.rand(40, 2, generator=generator(), dtype=torch.float64)
    u[:, 1] = high[1]
    _, first, _ = shape.jet(u)
    outward = first[:, :, 1] / first[:, :, 1].norm(dim=-1, keepdim=True)
    edge = shape.embed(u)
    projection = shape.project(edge + 0.05 * outward)
    assert bool(projection.converged.all()) and torch.allclose(projection.points, edge, atol=1e-9)
    assert torch.allclose(shape.distance(edge + 0.05 * outward), torch.tensor(0.05, dtype=torch.float64))


@pytest.mark.parametrize("shape", [*PARAMETRIC, GENUS_TWO], ids=name_of)
def test_closed_mean_curvature_agrees_with_second_differences(shape):
    x = shape.sample(400, generator())
    x = x[(shape.project(x + 1e-3).converged)]
    inner = x if shape.closed else x[shape.distance(x + 1e-2 * shape.normal_basis(x)[..., 0]) > 0.00999999]
    inner = inner if shape.closed else inner[((shape._parameters_on(inner) - _middle(shape)).abs() < 0.45 * _width(shape)).all(-1)]
    assert len(inner) > 50
    assert torch.allclose(shape.mean_curvature(inner), Manifold._mean_curvature(shape, inner), atol=1e-4)


def _middle(shape):
    return torch.tensor([(low + high) / 2 if not free else 0.0 for (low, high, _), free in zip(shape._box, shape._periodic, strict=True)])


def _width(shape):
    return torch.tensor([math.inf if free else high - low for (low, high, _), free in zip(shape._box, shape._periodic, strict=True)])


@pytest.mark.parametrize(("n", "two", "three"), [(2, (1, 1), (1, 1)), (3, (1, 1, 1, 1), (1, 0, 0, 1)), (4, (1, 2, 2, 2, 2, 2, 1)[:7], (1, 0, 0, 2, 0, 0, 1))])
def test_betti_numbers_of_rotation_groups(n, two, three):
    group = shapes.SpecialOrthogonal(n)
    assert group.betti(3) == three and group.betti(5) == three
    assert sum(group.betti(2)) == 2 ** (n - 1)
    if n < 4:
        assert group.betti(2) == two


def test_rotations_are_rotations():
    x = shapes.SpecialOrthogonal(4).sample(100, generator()).reshape(-1, 4, 4)
    assert torch.allclose(x @ x.mT, torch.eye(4, dtype=torch.float64).expand_as(x), atol=1e-12)
    assert torch.allclose(torch.linalg.det(x), torch.ones(100, dtype=torch.float64))


def test_every_point_of_a_linked_circle_is_a_radius_from_the_other():
    x = shapes.LinkedCircles().sample(500, generator())
    first = x[x[:, 1] != 0]
    second = x[x[:, 1] == 0]
    gap = torch.cdist(first, second).amin(1)
    assert float(gap.min()) >= 1 - 1e-12 and float(gap.max()) < 1.02


def test_figure_eight():
    eight = shapes.FigureEight()
    x = eight.sample(2000, generator())
    assert x.shape == (2000, 2) and float((x[:, 1] ** 2 - x[:, 0] ** 2 * (1 - x[:, 0] ** 2)).abs().max()) < 1e-12
    assert not isinstance(eight, Manifold) and eight.betti(3) == (1, 2)
    t = torch.linspace(0, 2 * math.pi, 200001, dtype=torch.float64)
    chain = torch.stack([t.cos(), t.sin() * t.cos()], -1)
    assert eight.volume == pytest.approx(float(chain.diff(dim=0).norm(dim=-1).sum()), rel=1e-8)
    right = float((x[:, 0] > 0).double().mean())
    assert abs(right - 0.5) < 6 * 0.5 / 2000**0.5
    with pytest.raises(InvalidInputError, match="n:"):
        eight.sample(-1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: shapes.Circle(0.0),
        lambda: shapes.Circle(math.nan),
        lambda: shapes.Sphere(0),
        lambda: shapes.Sphere(2, -1.0),
        lambda: shapes.Torus(R=1.0, r=1.0),
        lambda: shapes.FlatTorus(0),
        lambda: shapes.KleinBottle(r=2.0),
        lambda: shapes.MoebiusBand(w=1.5),
        lambda: shapes.SwissRoll(height=-1.0),
        lambda: shapes.TwoSpheres(offset=0.9),
        lambda: shapes.SpecialOrthogonal(1),
        lambda: shapes.TrefoilKnot(math.inf),
        lambda: shapes.ProjectivePlane("big"),
        lambda: shapes.GenusTwo(0),
        lambda: shapes.FigureEight(-1.0),
        lambda: shapes.Torus().betti(4),
        lambda: shapes.Torus().betti(1),
        lambda: shapes.Torus().betti(2.0),
        lambda: shapes.Torus().sample(-1),
        lambda: shapes.Torus().sample(2.5),
        lambda: shapes.Torus().distance(torch.zeros(2)),
    ],
)
def test_impossible_arguments_are_refused(make):
    with pytest.raises(InvalidInputError) as caught:
        make()
    assert ":" in str(caught.value) and isinstance(caught.value, TopogenError) and not isinstance(caught.value, NotSupportedError)


def test_distance_of_rows_that_are_not_finite_is_nan():
    x = torch.tensor([[2.0, 0.0], [torch.nan, 0.0], [torch.inf, 0.0]])
    distance = shapes.Circle().distance(x)
    assert distance[0] == 1 and bool(distance[1:].isnan().all())


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scaling_changes_nothing_but_units(scale):
    for make in (lambda s: shapes.Torus(s, 0.4 * s), lambda s: shapes.TrefoilKnot(s / 3), lambda s: shapes.GenusTwo(s), lambda s: shapes.KleinBottle(s, s / 2)):
        unit, scaled = make(1.0), make(scale)
        x = unit.sample(50, generator()) + 0.02
        a, b = unit.project(x), scaled.project(scale * x)
        assert bool(b.converged.all()) and torch.allclose(a.points, b.points / scale, atol=1e-12)
        assert scaled.diameter == pytest.approx(scale * unit.diameter)


def test_global_random_state_is_left_alone_by_a_generator():
    before = torch.get_rng_state()
    for name in shapes.SHAPES:
        shapes.get(name).sample(3, generator())
    assert torch.equal(before, torch.get_rng_state())
