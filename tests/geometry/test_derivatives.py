"""Derivatives of closest points, geodesics and projected vectors, by every mode of torch, against closed forms and differences."""

import math

import pytest
import torch

from topogen.errors import NotSupportedError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.graph_charts import GraphCharts
from topogen.manifolds.local_polynomial import fit_local_polynomials
from topogen.manifolds.shapes import Circle, GenusTwo, KleinBottle, SpecialOrthogonal, Torus


def ellipsoid(x):
    return (x * x.new_tensor([1.0, 0.8, 0.5])).square().sum(-1, keepdim=True) - 1


def overcomplete_sphere(x):
    return x * (x.square().sum(-1, keepdim=True) - 1) / 2


def round_sphere(x):
    return x.norm(dim=-1, keepdim=True) - 1


GIVEN = {"ellipsoid": ellipsoid, "overcomplete": overcomplete_sphere}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normals(*size, seed=0):
    return torch.randn(*size, generator=seeded(seed), dtype=torch.float64)


def given(name):
    m = ImplicitManifold(GIVEN[name], 2, 3)
    return m, m.project(normals(3, 3)).points + 0.1 * normals(3, 3, seed=1)


def wave(m):
    return lambda z: m.project(z).points.cos().sum()


@pytest.mark.parametrize("name", GIVEN)
def test_forward_mode_is_the_reverse_one(name):
    m, x = given(name)
    f = lambda z: m.project(z).points  # noqa: E731
    v, w = normals(3, 3, seed=2), normals(3, 3, seed=3)
    forward = torch.func.jvp(f, (x,), (v,))[1]
    pulled = torch.func.vjp(f, x)[1](w)[0]
    h = 1e-5
    expected = (f(x + h * v) - f(x - h * v)) / (2 * h)
    assert torch.allclose(forward, expected, atol=1e-7)
    assert abs(float((pulled * v).sum() - (expected * w).sum())) < 1e-6
    assert torch.allclose(torch.func.jacfwd(f)(x), torch.func.jacrev(f)(x), atol=1e-10)


@pytest.mark.parametrize("name", GIVEN)
def test_gradcheck_of_first_and_second_order(name):
    m, x = given(name)
    z = x[:2].clone().requires_grad_(True)
    f = lambda y: m.project(y).points  # noqa: E731
    assert torch.autograd.gradcheck(f, (z,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, (z,), check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("make", [KleinBottle, GenusTwo, SpecialOrthogonal, Torus])
def test_hessians_of_shapes_are_those_of_differences(make):
    m = make()
    x = m.sample(2, generator=seeded(0)) + 0.02 * normals(2, m.ambient_dim, seed=1)
    v = normals(*x.shape, seed=2)
    hessian = torch.func.jvp(torch.func.grad(wave(m)), (x,), (v,))[1]
    twice = torch.func.vjp(torch.func.grad(wave(m)), x)[1](v)[0]
    assert torch.allclose(hessian, twice, atol=1e-6)
    h = 1e-4
    ahead, behind = (torch.func.grad(wave(m))(x + s * h * v) for s in (1, -1))
    expected = (ahead - behind) / (2 * h)
    assert float((hessian - expected).abs().max()) < 1e-4 * (1 + float(expected.abs().max()))


def test_all_orders_of_the_modes_agree_on_hessians():
    m, x = given("ellipsoid")
    found = [torch.func.hessian(wave(m))(x), torch.func.jacrev(torch.func.jacrev(wave(m)))(x), torch.func.jacfwd(torch.func.jacfwd(wave(m)))(x)]
    assert all(torch.allclose(found[0], other, atol=1e-7) for other in found[1:])
    assert torch.allclose(found[0], found[0].permute(2, 3, 0, 1), atol=1e-7)


def test_a_third_derivative_is_refused():
    m, x = given("ellipsoid")
    with pytest.raises(NotSupportedError, match="second order"):
        torch.func.jacrev(torch.func.jacrev(torch.func.jacrev(wave(m))))(x)


def test_a_landing_point_has_no_derivative_of_a_closest_one():
    m = ImplicitManifold(ellipsoid, 2, 3, closest=False)
    x = given("ellipsoid")[1].requires_grad_(True)
    with pytest.raises(NotSupportedError, match="closest"):
        torch.autograd.grad(m.project(x).points.sum(), x)


def test_divergence_through_a_projection():
    """f(x) = A pi(x) on the unit sphere: div_M (P f) = tr(P A P) - 2 <x, A x>, in closed form."""
    m, a = ImplicitManifold(round_sphere, 2, 3), normals(3, 3, seed=5)
    x = m.project(normals(4, 3)).points
    found = m.divergence(lambda y: m.project(y).points @ a.T, x)
    along = torch.einsum("ni,ij,nj->n", x, a, x)
    assert torch.allclose(found, a.trace() - along - 2 * along, atol=1e-6)


@pytest.mark.parametrize("length", [0.0, 0.3, 1.4])
def test_derivatives_of_the_exponential_map_are_jacobi_fields(length):
    """On the unit sphere d exp across v is sin |v| / |v| and along v is 1; in closed form everywhere."""
    m = ImplicitManifold(round_sphere, 2, 3)
    x, v = torch.tensor([[1.0, 0, 0]], dtype=torch.float64), torch.tensor([[0, length, 0]], dtype=torch.float64)
    v.requires_grad_(True)
    across = torch.autograd.grad(m.expmap(x, v)[0, 2], v)[0][0, 2]
    expected = math.sin(length) / length if length else 1.0
    assert abs(float(across) - expected) < 1e-5


def test_retractions_have_the_derivative_of_what_they_return():
    m = ImplicitManifold(ellipsoid, 2, 3)
    x = m.project(normals(3, 3)).points
    u = (0.4 * m.proju(x, normals(3, 3, seed=1))).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda w: m.retr(x, w), (u,), check_forward_ad=True)


def test_gradients_of_logarithms_and_distances():
    m = Torus()
    x = m.sample(1, generator=seeded(3))
    y = m.expmap(x, m.proju(x, 0.5 * normals(1, 3, seed=4))).detach()
    v = normals(1, 3, seed=6)
    h = 1e-3
    for call in (lambda b: m.logmap(x, m.project(b).points), lambda b: m.logmap(m.project(b).points, x), lambda b: m.dist(m.project(b).points, x)):
        forward = torch.func.jvp(call, (y,), (v,))[1]
        expected = (call(y + h * v) - call(y - h * v)) / (2 * h)
        assert torch.allclose(forward, expected, atol=1e-4)
        z = y.clone().requires_grad_(True)
        (pulled,) = torch.autograd.grad(call(z).sum(), z)
        assert abs(float((pulled * v).sum() - expected.sum())) < 1e-3


def test_bases_and_curvature_refuse_derivatives():
    m, _ = given("ellipsoid")
    x = m.project(normals(3, 3)).points.requires_grad_(True)
    for call in (m.tangent_basis, m.mean_curvature, m.gauss_curvature, m.second_fundamental_form):
        value = call(x)
        assert value.requires_grad
        with pytest.raises(NotSupportedError):
            torch.autograd.grad(value.sum(), x)


def test_vectors_alone_need_no_derivative_in_the_points():
    m, _ = given("overcomplete")
    x = m.project(normals(3, 3)).points
    assert torch.autograd.gradgradcheck(lambda u: m.proju(x, u).sin(), (normals(3, 3, seed=1).requires_grad_(True),))


def test_local_polynomials_differentiate_the_step_they_take():
    m = fit_local_polynomials(Circle().sample(400, generator=seeded(0)), 1)
    x = (1.1 * Circle().sample(4, generator=seeded(1))).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: m.project(z).points, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda z: m.project(z).points, (x,))


def two_sheets(gap):
    centre = torch.tensor([[0.0, 0, 0], [0.3, 0, gap]], dtype=torch.float64)
    tangent = torch.eye(3, 2, dtype=torch.float64).expand(2, 3, 2)
    return Atlas(GraphCharts(centre, tangent, torch.ones(2, dtype=torch.float64)))


@pytest.mark.parametrize("gap", [0.45, 0.3, 2.0])
def test_own_sheets_nearby_are_kept_apart(gap):
    m = two_sheets(gap)
    x = torch.tensor([[0.2, 0.0, 0.05], [0.1, 0.1, gap - 0.05]], dtype=torch.float64)
    found = m.project(x)
    assert torch.allclose(found.points[:, 2], torch.tensor([0.0, gap], dtype=torch.float64), atol=1e-9)
    assert m.encode(found.points).chart.tolist() == [0, 1]


def test_points_far_from_every_chart_have_no_index_errors_with_gradients():
    far = torch.tensor([[50.0, 0, 0]], dtype=torch.float64, requires_grad=True)
    found = two_sheets(0.45).project(far)
    assert not bool(found.converged.any())
    assert bool(torch.isnan(torch.autograd.grad(found.points.sum(), far)[0]).all())
