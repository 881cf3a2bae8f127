"""The public face of `Manifold`: masks, strictness, broadcasting, defaults. Its laws are tested shape by shape."""

import geoopt
import pytest
import torch

from topogen.errors import InvalidInputError, ProjectionError
from topogen.manifolds import shapes
from topogen.manifolds.base import Manifold, Projection


class _Line(Manifold):
    """The x-axis of the plane, by the two methods that a subclass must write; rows beyond x = 9 do not converge."""

    def __init__(self):
        super().__init__(1, 2)

    def _project(self, x):
        zero = torch.zeros_like(x[:, 0])
        return Projection(torch.stack([x[:, 0], zero], -1), zero.detach(), x.detach()[:, 0] < 9, zero.detach().long())

    def _tangent_basis(self, x):
        return torch.tensor([[1.0], [0.0]], dtype=x.dtype).expand(len(x), 2, 1)


def test_two_methods_make_a_manifold():
    line = _Line()
    assert isinstance(line, geoopt.Manifold)
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    assert line.expmap(x, torch.tensor([3.0, 0.0])).tolist() == [[4.0, 0.0], [5.0, 0.0]]
    assert torch.equal(line.mean_curvature(x), torch.zeros(2, 2))
    assert line.divergence(lambda y: y**2, x).tolist() == [2.0, 4.0]


def test_abstract_methods_are_required():
    with pytest.raises(TypeError):
        Manifold(1, 2)


def test_projx_is_strict_and_project_is_not():
    line = _Line()
    x = torch.tensor([[1.0, 1.0], [10.0, 1.0], [torch.nan, 0.0]])
    assert line.project(x).converged.tolist() == [True, False, False]
    assert line.project(x).residual[2] == torch.inf
    with pytest.raises(ProjectionError, match="2 of 3"):
        line.projx(x)


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(2, 3), torch.zeros(2, dtype=torch.int32), torch.tensor(1.0), [0.0, 1.0], None])
def test_wrong_arguments_name_themselves(bad):
    with pytest.raises(InvalidInputError, match="x: expected"):
        _Line().project(bad)


def test_proju_and_inner_broadcast():
    torus = shapes.Torus()
    x = torus.sample(4, torch.Generator().manual_seed(0))
    u = torch.ones(5, 1, 3, dtype=torch.float64)
    assert torus.proju(x, u).shape == (5, 4, 3)
    assert torus.inner(x, u).shape == (5, 4) and torus.inner(x, u, keepdim=True).shape == (5, 4, 1)


def test_gradient_passes_beside_rows_that_are_not_finite():
    x = torch.tensor([[2.0, 0.0], [torch.nan, 1.0]], requires_grad=True)
    shapes.Circle().project(x).points[0].sum().backward()
    assert x.grad is not None and torch.equal(x.grad[0], torch.tensor([0.0, 0.5]))


def test_projection_passes_through_forward_derivatives():
    sphere = shapes.KleinBottle()
    x = sphere.sample(6, torch.Generator().manual_seed(0))
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    _, change = torch.func.jvp(lambda y: sphere.project(y).points, (x,), (v,))
    assert torch.allclose(change, sphere.proju(x, v), atol=1e-9)


def test_geodesics_are_great_circles():
    sphere = shapes.Sphere(3)
    x = sphere.sample(20, torch.Generator().manual_seed(0))
    u = sphere.proju(x, torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype))
    length = 0.2 * u.norm(dim=-1, keepdim=True).round() + 0.8
    u = u * length / u.norm(dim=-1, keepdim=True)
    assert torch.allclose(sphere.expmap(x, u), length.cos() * x + length.sin() * u / length, atol=2e-5)


def test_geodesics_of_the_torus_keep_clairauts_integral():
    """rho^2 du/dt is constant along a geodesic: a transport of first order loses it (.02 here), ours keeps it to 1e-3."""
    torus = shapes.Torus()
    x = torus.sample(50, torch.Generator().manual_seed(0))
    u = torus.proju(x, torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype))
    u = u / u.norm(dim=-1, keepdim=True)
    h = 1e-3
    y = torus.expmap(x.expand(3, 50, 3), torch.stack([u, (1 + h) * u, (1 - h) * u]))
    arrival = (y[1] - y[2]) / (2 * h)

    def moment(p, v):
        return p[:, 0] * v[:, 1] - p[:, 1] * v[:, 0]

    assert float((moment(y[0], arrival) - moment(x, u)).abs().max()) < 1e-3


@pytest.mark.parametrize("ask", [lambda m, x: m.project(x), lambda m, x: m.projx(x), lambda m, x: m.tangent_basis(x), lambda m, x: m.mean_curvature(x)])
def test_points_on_another_device_are_refused_with_a_way_out(ask):
    """The device `meta` stands for any other than the CPU."""
    with pytest.raises(InvalidInputError, match=r"on the CPU.*found them on meta; call \.cpu\(\) first"):
        ask(shapes.Sphere(2), torch.zeros(4, 3, device="meta"))
