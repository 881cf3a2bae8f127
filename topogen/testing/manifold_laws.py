"""The laws that every `Manifold` obeys, as methods of a base class for pytest classes.

With pi the projection, P = T T^t the tangent projector and exp the exponential map, all at points x of M:

    pi(pi(y)) = pi(y),   Dpi(x) = P(x),   |pi(x + h t) - x - h t| = O(h^2) for tangent t,   exp_x(h u) = x + h u + O(h^2),
    H = sum_i (D_{T_i} P) T_i,            div_M(P f) = sum_i <T_i, D_{T_i}(P f)>

Each law is checked against differences or definitions that the implementation does not use. Cases are counted: a law that found nothing to check fails.
"""

from __future__ import annotations

from collections.abc import Callable

import geoopt
import torch
from torch import Tensor

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds.base import Manifold, Projection

__all__ = ["ManifoldLaws"]


class ManifoldLaws:
    """Laws of the `Manifold` contract; a subclass writes `manifold` and `points`, and may set the attributes.

    `n` points per law; `seed` of the generator; `scale`, a length well below the reach at the points (steps and offsets are fractions of it);
    `normality`, the largest tangential part of pi(y) - y in units of |pi(y) - y|^2 / scale (0 for closest points up to rounding, about 1 for
    Newton's projections); `smoothness`, relative error granted to finite differences; `optimise`, whether geoopt's optimisers are run.
    """

    n = 8
    seed = 0
    scale = 0.2
    normality = 1e-7
    smoothness = 1e-3
    optimise = True

    def manifold(self) -> Manifold:
        """The manifold under test."""
        raise NotImplementedError("write manifold() in the subclass")

    def points(self, n: int, generator: torch.Generator) -> Tensor:
        """n points (n, D) on the manifold, float64, at least `scale` away from any boundary."""
        raise NotImplementedError("write points(n, generator) in the subclass")

    def test_project_is_idempotent(self) -> None:
        m, x, y = self._offset()
        once = m.project(y).points
        _at_most((m.project(once).points - once).norm(dim=-1), 2 * m.tolerance(x.dtype), "projecting twice moves a point")
        _at_most((m.project(x).points - x).norm(dim=-1), 2 * m.tolerance(x.dtype), "projecting moves a point of the manifold")

    def test_project_converges_near_the_manifold(self) -> None:
        m, x, y = self._offset()
        projection = m.project(y)
        assert projection.points.shape == y.shape and projection.residual.shape == projection.converged.shape == projection.iterations.shape == y.shape[:-1]
        assert projection.converged.dtype == torch.bool and bool(projection.converged.all()), (
            f"{int((~projection.converged).sum())} of {len(y)} did not converge"
        )
        _at_most(projection.residual, m.tolerance(x.dtype), "residual")
        _at_most(
            (projection.points - y).norm(dim=-1) - (x - y).norm(dim=-1) * (1 + self.normality), 1e-9, "projection is farther than a known point of the manifold"
        )

    def test_project_moves_along_the_normal(self) -> None:
        m, _, y = self._offset()
        p = m.project(y).points
        move = y - p
        length = move.norm(dim=-1)
        assert float(length.min()) > 1e-3 * self.scale, "offsets are too small to show a direction"
        _at_most(_along(m.tangent_basis(p), move).norm(dim=-1) - self.normality * length**2 / self.scale, 1e-8 * self.scale, "tangential part of the move")

    def test_derivative_of_project_is_the_tangent_projector(self) -> None:
        m, x = self._on()
        h = 1e-4 * self.scale
        columns = [(m.project(x + h * e).points - m.project(x - h * e).points) / (2 * h) for e in torch.eye(m.ambient_dim, dtype=x.dtype)]
        _at_most((torch.stack(columns, -1) - _projector(m, x)).abs().amax((-1, -2)), self.smoothness, "Dpi - P")

    def test_project_is_differentiable(self) -> None:
        m, _, y = self._offset(3)
        z = y.clone().requires_grad_(True)
        assert torch.autograd.gradcheck(lambda z: m.project(z).points, (z,), eps=1e-6, atol=1e-5, rtol=1e-4, check_forward_ad=True)

    def test_second_derivative_of_project_is_right_or_refused(self) -> None:
        m, _, y = self._offset(2)
        z, weight, along = y.clone().requires_grad_(True), self._vectors(y, 1), self._vectors(y, 2)
        (once,) = torch.autograd.grad((m.project(z).points * weight).sum(), z, create_graph=True)
        assert once.requires_grad, "the derivative of project is cut from its argument in silence"
        try:
            (twice,) = torch.autograd.grad((once * along).sum(), z)
        except NotSupportedError:
            return
        h = 1e-3 * self.scale
        ahead, behind = (_pulled(m, y + step * along, weight) for step in (h, -h))
        expected = (ahead - behind) / (2 * h)
        _at_most((twice - expected).norm(dim=-1), self.smoothness * (1 + float(expected.abs().max())), "D^2 pi, off its differences by")

    def test_derivatives_of_proju_and_retr_are_right(self) -> None:
        self._differentiates(lambda m, x, u: m.proju(x, u), 4)
        self._differentiates(lambda m, x, u: m.retr(x, 0.5 * self.scale * m.proju(x, u)), 4)

    def test_derivatives_of_expmap_are_right(self) -> None:
        self._differentiates(lambda m, x, u: m.expmap(x, self.scale * m.proju(x, u)), 1)
        self._differentiates(lambda m, x, u: m.expmap(x, self.scale * m.proju(x, u)), 1, share=0.0)

    def test_bases_refuse_a_derivative_they_do_not_have(self) -> None:
        m, x = self._on(2)
        z = x.clone().requires_grad_(True)
        for value in (m.tangent_basis(z), m.mean_curvature(z)):
            assert value.requires_grad or m.dim == m.ambient_dim, "a basis or curvature is cut from its argument in silence"

    def test_tangent_basis_is_orthonormal(self) -> None:
        m, x = self._on()
        basis = m.tangent_basis(x)
        assert basis.shape == (*x.shape, m.dim), f"expected {(*x.shape, m.dim)}, found {tuple(basis.shape)}"
        _at_most((basis.mT @ basis - torch.eye(m.dim, dtype=x.dtype)).abs(), 1e-9, "T^t T - I")

    def test_tangent_basis_is_tangent(self) -> None:
        m, x = self._on()
        basis = m.tangent_basis(x)
        h = 0.02 * self.scale
        for t in [*basis.unbind(-1), basis @ _unit(self._normals(m.dim, salt=1))]:
            far, near = (_departure(m, x, step * t) for step in (h, h / 2))
            _at_most(near - far / 3, 1e-9, "x + h t leaves the manifold in the first order of h, excess")

    def test_normal_basis_completes_the_tangent_basis(self) -> None:
        m, x = self._on()
        both = torch.cat([m.tangent_basis(x), m.normal_basis(x)], -1)
        assert both.shape == (*x.shape, m.ambient_dim), f"expected {m.ambient_dim - m.dim} normals"
        _at_most((both.mT @ both - torch.eye(m.ambient_dim, dtype=x.dtype)).abs(), 1e-9, "(T N)^t (T N) - I")

    def test_proju_is_an_orthogonal_projector(self) -> None:
        m, x = self._on()
        u, v = self._vectors(x, 1), self._vectors(x, 2)
        pu, pv = m.proju(x, u), m.proju(x, v)
        _at_most((m.proju(x, pu) - pu).abs(), 1e-9, "P P u - P u")
        _at_most((m.inner(x, pu, v) - m.inner(x, u, pv)).abs(), 1e-9, "<P u, v> - <u, P v>")
        _at_most((m.egrad2rgrad(x, u) - pu).abs(), 1e-9, "egrad2rgrad - proju")

    def test_retraction_is_of_first_order(self) -> None:
        m, x = self._on()
        u = _unit(m.proju(x, self._vectors(x, 1)))
        h = 0.02 * self.scale
        far, near = ((m.retr(x, step * u) - x - step * u).norm(dim=-1) for step in (h, h / 2))
        _at_most(near - far / 3, 1e-9, "retr(x, h u) - x - h u is not of second order in h, excess")

    def test_expmap_keeps_speed_and_acceleration(self) -> None:
        m, x = self._on()
        u = self.scale * _unit(m.proju(x, self._vectors(x, 1)))
        h = 0.05
        ahead, behind, soon, before = _walk(m, x, u, 1 + h, 1 - h, h, -h)
        _at_most(((ahead - behind).norm(dim=-1) / (2 * h * self.scale) - 1).abs(), 10 * self.smoothness, "relative change of speed along a geodesic")
        acceleration = (soon - 2 * x + before) / (h * self.scale) ** 2
        _at_most(self.scale * _along(m.tangent_basis(x), acceleration).norm(dim=-1), 10 * self.smoothness, "tangential acceleration of a geodesic")
        assert bool(m.project(ahead).converged.all())

    def test_expmap_is_reversible(self) -> None:
        m, x = self._on()
        u = self.scale * _unit(m.proju(x, self._vectors(x, 1)))
        h = 0.01
        y, ahead, behind, still = _walk(m, x, u, 1.0, 1 + h, 1 - h, 0.0)
        arrival = (ahead - behind) / (2 * h)
        _at_most((m.expmap(y, -m.proju(y, arrival)) - x).norm(dim=-1) / self.scale, 5 * self.smoothness, "way back along a geodesic, relative")
        _at_most((still - x).norm(dim=-1), 2 * m.tolerance(x.dtype), "exp_x(0) - x")

    def test_logmap_undoes_expmap(self) -> None:
        m, x = self._on(3)
        u = self.scale * _unit(m.proju(x, self._vectors(x, 1)))
        y = m.expmap(x, u)
        v = m.logmap(x, y)
        _at_most((v - u).norm(dim=-1) / self.scale, 5 * self.smoothness, "log_x(exp_x(u)) - u, relative")
        _at_most((m.dist(x, y) / self.scale - 1).abs(), self.smoothness, "dist(x, exp_x(u)) / |u| - 1")
        _at_most((m.expmap(x, v) - y).norm(dim=-1) / self.scale, 1e-6, "exp_x(log_x(y)) - y, relative")

    def test_transport_is_tangent(self) -> None:
        m, x = self._on()
        u = self.scale * _unit(m.proju(x, self._vectors(x, 1)))
        y, v = m.retr_transp(x, u, m.proju(x, self._vectors(x, 2)))
        _at_most((m.proju(y, v) - v).norm(dim=-1), 1e-9, "normal part of a transported vector")

    def test_mean_curvature_is_the_trace_of_the_second_form(self) -> None:
        m, x = self._on()
        found, basis, h = m.mean_curvature(x), m.tangent_basis(x), 1e-3 * self.scale
        assert found.shape == x.shape
        total = torch.zeros_like(x)
        for t in basis.unbind(-1):
            ahead, behind = (_projector(m, m.project(x + step * t).points) for step in (h, -h))
            total = total + ((ahead - behind) @ t.unsqueeze(-1)).squeeze(-1) / (2 * h)
        _at_most(self.scale * _along(basis, found).norm(dim=-1), self.smoothness, "tangential part of H, times scale")
        normal = total - (basis @ (basis.mT @ total.unsqueeze(-1))).squeeze(-1)
        _at_most(self.scale * (found - normal).norm(dim=-1), self.smoothness, "H - sum_i (D_i P) T_i, times scale")

    def test_divergence_is_the_trace_of_the_derivative(self) -> None:
        m, x = self._on()
        field, h = self._field(m), 1e-3 * self.scale
        total = x.new_zeros(len(x))
        for t in m.tangent_basis(x).unbind(-1):
            ahead, behind = (_tangential(m, field, m.project(x + step * t).points) for step in (h, -h))
            total = total + ((ahead - behind) * t).sum(-1) / (2 * h)
        found = m.divergence(field, x)
        assert float(found.abs().max()) > self.smoothness, "the field has no divergence to compare"
        _at_most(self.scale * (found - total).abs(), self.smoothness, "div - sum_i <T_i, D_i (P f)>, times scale")

    def test_batch_equals_singles(self) -> None:
        m, x, y = self._offset()
        u = self.scale * m.proju(x, self._vectors(x, 1))
        calls: list[Callable[[slice], Tensor]] = [
            lambda k: m.project(y[k]).points,
            lambda k: _projector(m, x[k]),
            lambda k: m.retr(x[k], u[k]),
            lambda k: m.transp(x[k], x[k], u[k]),
            lambda k: m.expmap(x[k], u[k]),
        ]
        for call in calls:
            singles = torch.cat([call(slice(k, k + 1)) for k in range(2)])
            _at_most((call(slice(None))[:2] - singles).abs(), 1e-12, "batch - singles")

    def test_leading_shapes(self) -> None:
        m, x, y = self._offset(6)
        u = self.scale * m.proju(x, self._vectors(x, 1))
        for lead in ((), (2, 3), (1, 6), (0,)):
            k = 1 if lead == () else torch.Size(lead).numel()
            a, b, c = (z[:k].reshape(*lead, m.ambient_dim) for z in (x, y, u))
            assert m.project(b).points.shape == b.shape and m.project(b).residual.shape == torch.Size(lead)
            assert m.tangent_basis(a).shape == (*a.shape, m.dim) and m.normal_basis(a).shape == (*a.shape, m.ambient_dim - m.dim)
            assert m.mean_curvature(a).shape == m.retr(a, c).shape == m.transp(a, a, c).shape == a.shape
            assert m.divergence(self._field(m), a).shape == m.inner(a, c).shape == torch.Size(lead)
        assert m.expmap(x.reshape(2, 3, -1), u.reshape(2, 3, -1)).shape == (2, 3, m.ambient_dim)

    def test_dtype_follows_the_input(self) -> None:
        m, x, y = self._offset(4)
        u = self.scale * m.proju(x, self._vectors(x, 1))
        for dtype in (torch.float32, torch.float64):
            a, b, c = x.to(dtype), y.to(dtype), u.to(dtype)
            projection = m.project(b)
            assert projection.points.dtype == projection.residual.dtype == dtype
            assert bool(projection.converged.all()), f"{dtype}: not converged"
            outputs = [m.tangent_basis(a), m.normal_basis(a), m.mean_curvature(a), m.proju(a, c), m.retr(a, c), m.expmap(a, c), m.divergence(self._field(m), a)]
            assert all(z.dtype == dtype for z in outputs), [z.dtype for z in outputs]
            _at_most((projection.points - m.project(y).points).abs(), 1e-4, f"{dtype} against float64")

    def test_rows_that_are_not_finite_are_flagged(self) -> None:
        m, _, y = self._offset(5)
        bad = y.clone()
        bad[1, 0], bad[3, -1] = torch.nan, torch.inf
        found, clean = m.project(bad), m.project(y)
        assert found.converged.tolist() == [True, False, True, False, True], found.converged
        good = torch.tensor([0, 2, 4])
        _at_most((found.points[good] - clean.points[good]).abs(), 1e-12, "rows beside a NaN changed")
        assert torch.equal(found.points[[1, 3]].nan_to_num(), bad[[1, 3]].nan_to_num()), "rows that are not finite must come back as they are"

    def test_inputs_are_not_changed(self) -> None:
        m, x, y = self._offset(4)
        u = self.scale * m.proju(x, self._vectors(x, 1))
        kept = [z.clone() for z in (x, y, u)]
        for result in (m.project(y), m.projx(y), m.tangent_basis(x), m.normal_basis(x), m.mean_curvature(x), m.proju(x, u), m.retr(x, u), m.expmap(x, u)):
            tensor = result.points if isinstance(result, Projection) else result
            tensor.add_(1)
        assert all(torch.equal(z, k) for z, k in zip((x, y, u), kept, strict=True)), "an input was changed, or shares memory with an output"

    def test_geoopt_checks_agree(self) -> None:
        m, x, y = self._offset()
        u = m.proju(x, self._vectors(x, 1))
        assert m.check_point_on_manifold(x) and m.check_vector_on_tangent(x, u)
        assert not m.check_point_on_manifold(y, atol=1e-6, rtol=0.0)
        if m.dim < m.ambient_dim:
            assert not m.check_vector_on_tangent(x, u + m.normal_basis(x)[..., 0])

    def test_wrong_inputs_are_refused(self) -> None:
        m, x = self._on(2)
        for bad in (torch.cat([x, x], -1), x[:, :-1], torch.ones(2, m.ambient_dim, dtype=torch.int64), x[0, 0]):
            try:
                m.project(bad)
            except InvalidInputError:
                continue
            raise AssertionError(f"project accepted {bad.dtype} of shape {tuple(bad.shape)}")

    def test_geoopt_optimisers_run(self) -> None:
        if not self.optimise:
            return
        m, x = self._on(4)
        target = m.retr(x, 2 * self.scale * _unit(m.proju(x, self._vectors(x, 1))))
        makers: list[Callable[[Tensor], torch.optim.Optimizer]] = [
            lambda p: geoopt.optim.RiemannianSGD([p], lr=0.02, momentum=0.9),
            lambda p: geoopt.optim.RiemannianAdam([p], lr=0.2 * self.scale),
        ]
        for make in makers:
            found = _optimise(make, geoopt.ManifoldParameter(x.clone(), manifold=m), target)
            _at_most((found - target).norm(dim=-1) - 0.5 * (x - target).norm(dim=-1), 0.0, "distance to the target after optimising, above half of the first")
            _at_most((m.project(found).points - found).norm(dim=-1), 1e-7, "optimised points are off the manifold by")

    def _differentiates(self, call: Callable[[Manifold, Tensor, Tensor], Tensor], n: int, share: float = 1.0) -> None:
        """Forward and reverse derivatives of a call in x along M and in u, at share times a vector u, against differences."""
        m, x = self._on(n)
        u = share * self._vectors(x, 1)
        ways, weight = (self.scale * self._vectors(x, 2), self._vectors(x, 3)), self._vectors(x, 4)

        def at(e: Tensor, v: Tensor) -> Tensor:
            return call(m, m.project(x.repeat(len(e) // n, 1) + e).points, v)

        h = 1e-3
        ahead, behind = at(torch.cat([h * ways[0], -h * ways[0]]), torch.cat([u + h * ways[1], u - h * ways[1]])).split(n)
        expected = (ahead - behind) / (2 * h)
        start = (torch.zeros_like(x), u)
        forward: Tensor = torch.func.jvp(at, start, ways)[1]
        bound = 10 * self.smoothness * self.scale * (1 + float(expected.abs().max()))
        _at_most((forward - expected).abs().amax(-1), bound, "forward derivative off its differences by")
        leaves = tuple(part.clone().requires_grad_(True) for part in start)
        pulled = torch.autograd.grad((at(*leaves) * weight).sum(), leaves)
        reverse = torch.stack([(g * w).sum(-1) for g, w in zip(pulled, ways, strict=True)]).sum(0)
        _at_most((reverse - (forward * weight).sum(-1)).abs(), 1e-6 * (1 + float(forward.abs().max())), "reverse derivative off the forward one by")

    def _generator(self, salt: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self.seed + salt)

    def _normals(self, *size: int, salt: int) -> Tensor:
        return torch.randn(*size, generator=self._generator(salt), dtype=torch.float64)

    def _on(self, n: int | None = None) -> tuple[Manifold, Tensor]:
        return self.manifold(), self.points(n or self.n, self._generator())

    def _offset(self, n: int | None = None) -> tuple[Manifold, Tensor, Tensor]:
        m, x = self._on(n)
        return m, x, x + 0.3 * self.scale * _unit(self._vectors(x, 7))

    def _vectors(self, x: Tensor, salt: int) -> Tensor:
        return self._normals(*x.shape, salt=salt)

    def _field(self, m: Manifold) -> Callable[[Tensor], Tensor]:
        a = self._normals(m.ambient_dim, m.ambient_dim, salt=11)
        b = self._normals(m.ambient_dim, salt=12)
        return lambda x: (x @ a.to(x.dtype)).sin() + b.to(x.dtype) * x


def _pulled(m: Manifold, y: Tensor, weight: Tensor) -> Tensor:
    """Dpi(y)^t weight (n, D)."""
    z = y.clone().requires_grad_(True)
    (found,) = torch.autograd.grad((m.project(z).points * weight).sum(), z)
    return found


def _at_most(values: Tensor, bound: float, what: str) -> None:
    assert values.numel() > 0, f"{what}: nothing to check"
    worst = float(values.max())
    assert worst <= bound, f"{what}: {worst:.3g} > {bound:.3g}"


def _unit(vectors: Tensor) -> Tensor:
    length: Tensor = vectors.norm(dim=-1, keepdim=True)
    return vectors / length


def _along(basis: Tensor, vectors: Tensor) -> Tensor:
    return (basis.mT @ vectors.unsqueeze(-1)).squeeze(-1)


def _projector(m: Manifold, x: Tensor) -> Tensor:
    basis = m.tangent_basis(x)
    return basis @ basis.mT


def _departure(m: Manifold, x: Tensor, step: Tensor) -> Tensor:
    offset: Tensor = m.project(x + step).points - x - step
    length: Tensor = torch.linalg.vector_norm(offset, dim=-1)
    return length


def _walk(m: Manifold, x: Tensor, u: Tensor, *times: float) -> tuple[Tensor, ...]:
    """exp_x(t u) for several t in one batch."""
    return m.expmap(x.expand(len(times), *x.shape), torch.stack([t * u for t in times])).unbind(0)


def _tangential(m: Manifold, field: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return m.proju(x, field(x))


def _optimise(make: Callable[[Tensor], torch.optim.Optimizer], point: geoopt.ManifoldParameter, target: Tensor, steps: int = 30) -> Tensor:
    optimiser = make(point)
    for _ in range(steps):
        optimiser.zero_grad()
        (point - target).square().sum().backward()
        optimiser.step()
    found: Tensor = point.detach()
    return found
