"""The parts that geodesic distances are made of, on surfaces given by callables."""

import math

import torch

from topogen.geometry.curvature import gauss_curvature, mean_curvature, second_fundamental_form
from topogen.geometry.exponential_map import transported
from topogen.geometry.path_graph import path_graph, starts
from topogen.geometry.paths import PathSurface, _tridiagonal, along, end_directions, minimal_paths, polygon_length, relax
from topogen.geometry.projection import Projection


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normals(*size, seed=0):
    return torch.randn(*size, generator=generator(seed), dtype=torch.float64)


def found(points):
    return Projection(points, torch.zeros_like(points[..., 0]), torch.isfinite(points).all(-1), torch.zeros(points.shape[:-1], dtype=torch.int64))


def cylinder_project(x):
    return found(torch.cat([x[..., :2] / x[..., :2].norm(dim=-1, keepdim=True), x[..., 2:]], -1))


def cylinder_basis(x):
    around = torch.stack([-x[..., 1], x[..., 0], torch.zeros_like(x[..., 0])], -1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=x.dtype).expand_as(x)
    return torch.stack([around, up], -1)


CYLINDER = PathSurface(cylinder_project, cylinder_basis)


def on_cylinder(angle, height):
    return torch.stack([angle.cos(), angle.sin(), height], -1)


def cloud(n=800, seed=1):
    u = torch.rand(n, 2, generator=generator(seed), dtype=torch.float64)
    return on_cylinder(2 * math.pi * u[:, 0], 3 * u[:, 1] - 1.5)


def test_edges_do_not_leave_the_surface():
    circles = torch.cat([on_cylinder(torch.linspace(0, 2 * math.pi, 13, dtype=torch.float64)[:-1], torch.zeros(12, dtype=torch.float64))])
    graph = path_graph(cylinder_project, circles, 11)
    apart = (circles[graph.edges[:, 0]] * circles[graph.edges[:, 1]]).sum(-1)
    assert float(apart.min()) > -1e-9 and len(graph.edges) >= 24
    edges = {(int(a), int(b)) for a, b in graph.edges}
    assert all((b, a) in edges for a, b in edges)


def test_starts_go_both_ways_around():
    graph = path_graph(cylinder_project, cloud())
    x = on_cylinder(torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    begun = starts(graph, cylinder_project, x, -x)
    assert begun.pair.tolist() == [0] * len(begun.pair) and len(begun.pair) >= 2
    sides = begun.nodes[:, 32, 1].sign().unique()
    assert sides.tolist() == [-1.0, 1.0]
    assert torch.equal(begun.nodes[:, 0], x.expand(len(begun.pair), 3)) and torch.equal(begun.nodes[:, -1], -x.expand(len(begun.pair), 3))


def test_relaxed_curves_on_a_cylinder_are_helices():
    t = torch.linspace(0, 1, 17, dtype=torch.float64)
    start = on_cylinder(2.5 * t**2, t + 0.3 * (9 * t).sin() * t * (1 - t))
    nodes, converged = relax(CYLINDER, start.unsqueeze(0))
    assert converged.tolist() == [True]
    assert torch.allclose(nodes[0], on_cylinder(2.5 * t, t), atol=1e-7)
    assert torch.equal(start, on_cylinder(2.5 * t**2, t + 0.3 * (9 * t).sin() * t * (1 - t)))


def test_shortest_paths_on_a_cylinder():
    u = torch.rand(60, 2, generator=generator(2), dtype=torch.float64)
    angle, height = 2 * math.pi * u[:, 0], 2 * u[:, 1] - 1
    x, y = on_cylinder(angle[:30], height[:30]), on_cylinder(angle[30:], height[30:])
    paths = minimal_paths(CYLINDER, path_graph(cylinder_project, cloud()), x, y)
    turn = (angle[:30] - angle[30:]).abs()
    truth = torch.hypot(torch.minimum(turn, 2 * math.pi - turn), height[:30] - height[30:])
    assert bool(paths.converged.all()) and int(paths.candidates.min()) >= 1
    assert float((paths.lengths / truth - 1).abs().max()) < 1e-7


def test_two_cylinders_are_not_joined():
    def project(x):
        side = torch.where(x[..., :1] > 2, 4.0, 0.0) * torch.tensor([1.0, 0.0, 0.0], dtype=x.dtype)
        return found(cylinder_project(x - side).points + side)

    def basis(x):
        return cylinder_basis(x - torch.where(x[..., :1] > 2, 4.0, 0.0) * torch.tensor([1.0, 0.0, 0.0], dtype=x.dtype))

    offset = torch.tensor([4.0, 0.0, 0.0], dtype=torch.float64)
    points = torch.cat([cloud(400), cloud(400) + offset])
    x = cloud(4, seed=5)
    paths = minimal_paths(PathSurface(project, basis), path_graph(project, points), x, torch.cat([x[[1, 0]], x[[1, 0]] + offset]))
    assert torch.isinf(paths.lengths).tolist() == [False, False, True, True]
    assert paths.converged.tolist() == [True, True, False, False]
    assert bool(paths.nodes[2:].isnan().all()) and paths.candidates[2:].tolist() == [0, 0]


def test_lengths_are_extrapolated_to_the_sixth_order():
    def length(chords):
        t = torch.linspace(0, 1, chords + 1, dtype=torch.float64)
        return float(polygon_length(torch.stack([t.exp() * (3 * t).cos(), t.exp() * (3 * t).sin()], -1).unsqueeze(0)))

    truth = math.sqrt(10) * (math.e - 1)
    coarse, fine = abs(length(16) - truth), abs(length(32) - truth)
    assert fine < 1e-7 and 50 < coarse / fine < 80


def test_points_along_a_cubic_curve_are_exact():
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    nodes = torch.stack([t**3 - t, t**2], -1).expand(2, 9, 2)
    s = torch.tensor([[0.0, 0.33, 1.0], [0.05, 0.5, 0.97]], dtype=torch.float64)
    assert torch.allclose(along(nodes, s), torch.stack([s**3 - s, s**2], -1), atol=1e-12)
    first, last = end_directions(nodes)
    assert torch.allclose(first[0], torch.tensor([-1.0, 0.0], dtype=torch.float64), atol=1e-12)
    assert torch.allclose(last[0], torch.tensor([2.0, 2.0], dtype=torch.float64), atol=1e-12)


def test_tridiagonal_blocks_agree_with_a_dense_solve():
    k, d = 5, 2
    beside = 0.3 * normals(3, k - 1, d, d)
    diagonal = 2 * torch.eye(d, dtype=torch.float64).expand(3, k, d, d).clone()
    diagonal[1, 2] = -diagonal[1, 2]
    right = normals(3, k, d, seed=1)
    dense = torch.zeros(3, k, d, k, d, dtype=torch.float64)
    for i in range(k):
        dense[:, i, :, i] = diagonal[:, i]
        if i:
            dense[:, i - 1, :, i] = beside[:, i - 1]
            dense[:, i, :, i - 1] = beside[:, i - 1].mT
    dense = dense.reshape(3, k * d, k * d)
    solution, positive = _tridiagonal(diagonal, beside, right)
    expected = torch.linalg.solve(dense, right.reshape(3, k * d, 1)).reshape(3, k, d)
    assert positive.tolist() == (torch.linalg.eigvalsh(dense)[:, 0] > 0).tolist() == [True, False, True]
    assert torch.allclose(solution[positive], expected[positive], atol=1e-12)


def test_transport_is_an_isometry_and_unrolls_the_cylinder():
    t = torch.linspace(0, 1, 40, dtype=torch.float64)
    nodes = on_cylinder(3 * t, t**2).expand(2, 40, 3)
    inside = normals(2, 4, 2)
    v = inside @ cylinder_basis(nodes[:, 0]).mT
    w = transported(cylinder_basis(nodes), v)
    assert torch.allclose(w, inside @ cylinder_basis(nodes[:, -1]).mT, atol=1e-12)
    assert torch.allclose(w @ w.mT, v @ v.mT, atol=1e-12)


def test_second_form_of_the_cylinder():
    x = cloud(20)
    form = second_fundamental_form(lambda z: cylinder_project(z).points, cylinder_basis, x)
    expected = torch.zeros_like(form)
    expected[..., 0, 0] = -x * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(form, expected, atol=1e-7)
    assert float(gauss_curvature(form).abs().max()) < 1e-7
    trace = form.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert torch.allclose(trace, mean_curvature(lambda z: cylinder_project(z).points, cylinder_basis, x), atol=1e-5)
