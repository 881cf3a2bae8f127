"""Derivatives that are written down instead of traced: of closest points, of what is known up to first order, and of what has none.

The closest point pi(x) is minus the gradient of d^2/2 - |x|^2/2, d the distance from M, so that

    Dpi(x) v                   is symmetric in v and in what it is paired with,
    <g, D^2pi(x)[v, w]>        in all three of g, v, w,

and the gradient in x of <g, Dpi(x) v> is the derivative of Dpi(x) v along g: two reverse passes cost a few first derivatives at points beside x.

Everything here holds for backward passes, for forward mode and for the transforms of `torch.func`. What is not known raises NotSupportedError as soon as it is
asked for; nothing is taken as zero.
Foote (1984), Regularity of the distance function; Griewank, Walther (2008), Evaluating Derivatives, chapter 15 (implicit functions).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from topogen.errors import NotSupportedError
from topogen.geometry.frames import apply
from topogen.geometry.projection import Projection

__all__ = ["CURVATURE", "FRAMES", "NO_GRADIENT", "Linear", "Sought", "underived", "differentiable_closest", "searched", "tangential", "with_jacobians"]

Linear = Callable[[Tensor], Tensor]
"""v (..., n, D) -> Dpi v (..., n, D) at n points."""
Sought = Callable[[Tensor], tuple[Projection, Linear]]
"""Points (n, D) -> their projections and the derivative there."""

Computed = Callable[..., tuple[Tensor, Callable[[], tuple[Tensor, ...]]]]
"""Plain tensors (n, D) -> a value (n, p) and the way to its Jacobians (n, p, D), one for each of them."""

NO_GRADIENT = "log_prob: this density has no derivative in x; take differences of log_prob, or fit an energy to its samples"
FRAMES = "tangent_basis: bases are found without their derivative in x; differentiate proju(x, u), which does not depend on the basis"
CURVATURE = "curvature: it is found without its derivative in x; compute that by differences of curvature along M, or pass x.detach()"
_STEP = 1e-3


def differentiable_closest(x: Tensor, find: Sought, unit: float) -> Projection:
    """The projections of points x (n, D) that `find` gives, their `points` differentiable in x twice.

    `find` sees plain tensors without gradients; the derivative it returns must be symmetric, as that of a closest point is. `unit` is a length below which M
    looks flat: second derivatives are differences of fourth order over 1e-3 of it.
    """
    points, residual, converged, iterations = _Closest.apply(x, _Finder(find, unit))  # type: ignore[no-untyped-call]
    return Projection(points, residual, converged, iterations)


def underived(value: Tensor, x: Tensor, reason: str) -> Tensor:
    """`value`, computed from x without its derivative: asking for the derivative in x raises NotSupportedError with `reason`."""
    found: Tensor = _Constant.apply(value.detach(), x, reason)  # type: ignore[no-untyped-call]
    return found


def with_jacobians(compute: Computed, inputs: tuple[Tensor, ...], reason: str) -> Tensor:
    """The value (n, p) that `compute` gives for the plain `inputs` (n, D), with its Jacobians (n, p, D), which are found only when they are needed.

    A second derivative in the inputs raises NotSupportedError with `reason`.
    """
    found: Tensor = _FirstOrder.apply(_Known(compute), reason, *inputs)  # type: ignore[no-untyped-call]
    return found


def tangential(x: Tensor, u: Tensor, basis: Callable[[Tensor], Tensor], form: Callable[[Tensor], Tensor]) -> Tensor:
    """P(x) u (n, D), P = T T^t the projector on the tangent space at points x (n, D) of M, differentiable in both along M.

    `basis` gives T (n, D, d) and `form` the second fundamental forms II (n, D, d, d) in it, which is asked for only where x moves:
    (D_t P) u = II(t, P u) + T <II(t, T), u>. A second derivative in x raises NotSupportedError.
    """
    found: Tensor = _Tangential.apply(x, u, _Frames(basis, form))  # type: ignore[no-untyped-call]
    return found


def searched(x: Tensor, search: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Integers or masks that a search among points gives, constants to every derivative; found below the transforms of `torch.func`, which hide values."""
    found: tuple[Tensor, ...] = _Search.apply(x, search)  # type: ignore[no-untyped-call]
    return found


class _Search(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, search: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        return search(torch.nan_to_num(x.detach()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output)
        ctx.count = len(output)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, None]:
        return None, None

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> tuple[None, ...]:
        return (None,) * ctx.count

    @staticmethod
    def vmap(*_: Any) -> Any:
        raise NotSupportedError(_ROWS)


class _Finder:
    """What finds closest points, and the derivative at the points it was last asked for."""

    def __init__(self, find: Sought, unit: float) -> None:
        self.find, self.unit = find, unit
        self.derivative: Linear = _unknown

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Projection:
        found, self.derivative = self.find(x)
        return found

    @torch.no_grad()
    def turning(self, x: Tensor, v: Tensor, along: Tensor) -> Tensor:
        """d/dt Dpi(x + t w) v (..., n, D) at t = 0 for v and w = `along` (..., n, D), by the difference of fourth order."""
        v, along = torch.broadcast_tensors(v, along)
        lead = v.shape[:-2]
        length = along.norm(dim=-1, keepdim=True)
        step = _STEP * self.unit * along / torch.where(length > 0, length, 1.0)
        flat, total = v.reshape(-1, v.shape[-1]), torch.zeros_like(v)
        for k, share in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
            ahead = (x + k * step).reshape(-1, x.shape[-1])
            total = total + share * self.find(ahead)[1](flat).reshape(*lead, *x.shape)
        return total * length / (12 * _STEP * self.unit)


def _unknown(v: Tensor) -> Tensor:
    raise NotSupportedError("project: the derivative was asked for before the points; call project(x) first")


class _Closest(torch.autograd.Function):
    """x -> points, residual, converged, iterations of the closest points."""

    @staticmethod
    def forward(x: Tensor, finder: _Finder) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found = finder(x.detach())
        return found.points.clone(), found.residual, found.converged, found.iterations

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.finder = inputs[1]
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, None]:
        return _Turned.apply(ctx.saved_tensors[0], grad, ctx.finder), None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Any) -> tuple[Tensor, None, None, None]:
        return _Turned.apply(ctx.saved_tensors[0], tangent, ctx.finder), None, None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(*_: Any) -> Any:
        raise NotSupportedError(_ROWS)


class _Turned(torch.autograd.Function):
    """(x, v) -> Dpi(x) v; symmetric and linear in v."""

    @staticmethod
    def forward(x: Tensor, v: Tensor, finder: _Finder) -> Tensor:
        return finder.derivative(v.detach()).to(v.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.finder = inputs[2]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        if grad is None:
            return None, None, None
        x, v = ctx.saved_tensors
        first = _summed(_Bent.apply(x, v, grad, ctx.finder), x) if ctx.needs_input_grad[0] else None  # type: ignore[no-untyped-call]
        return first, _Turned.apply(x, grad, ctx.finder), None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor | None, v_tangent: Tensor | None, _: Any) -> Tensor:
        x, v = ctx.saved_tensors
        total: Tensor = torch.zeros_like(v)
        if v_tangent is not None:
            total = total + _Turned.apply(x, v_tangent, ctx.finder)  # type: ignore[no-untyped-call]
        if x_tangent is not None:
            total = total + _Bent.apply(x, v, x_tangent, ctx.finder)  # type: ignore[no-untyped-call]
        return total

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, v: Tensor, finder: _Finder) -> tuple[Tensor, int]:
        return _batched(lambda *parts: _Turned.apply(*parts, finder), info.batch_size, in_dims, x, v)  # type: ignore[no-untyped-call]


class _Bent(torch.autograd.Function):
    """(x, v, w) -> D^2pi(x)[v, w]; symmetric and linear in v and w, its derivative in x is not known."""

    @staticmethod
    def forward(x: Tensor, v: Tensor, w: Tensor, finder: _Finder) -> Tensor:
        return finder.turning(x.detach(), v.detach(), w.detach()).to(v.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.finder = inputs[3]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:3])
        ctx.save_for_forward(*inputs[:3])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None
        if ctx.needs_input_grad[0]:
            raise NotSupportedError(_THIRD)
        x, v, w = ctx.saved_tensors
        return None, _Bent.apply(x, grad, w, ctx.finder), _Bent.apply(x, v, grad, ctx.finder), None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor | None, v_tangent: Tensor | None, w_tangent: Tensor | None, _: Any) -> Tensor:
        if x_tangent is not None:
            raise NotSupportedError(_THIRD)
        x, v, w = ctx.saved_tensors
        total = torch.zeros_like(v)
        if v_tangent is not None:
            total = total + _Bent.apply(x, v_tangent, w, ctx.finder)  # type: ignore[no-untyped-call]
        if w_tangent is not None:
            total = total + _Bent.apply(x, v, w_tangent, ctx.finder)  # type: ignore[no-untyped-call]
        return total

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, v: Tensor, w: Tensor, finder: _Finder) -> tuple[Tensor, int]:
        return _batched(lambda *parts: _Bent.apply(*parts, finder), info.batch_size, in_dims, x, v, w)  # type: ignore[no-untyped-call]


_ROWS = "vmap: manifolds take points in batches already; pass rows (n, D) without vmap"
_THIRD = (
    "project: closest points have derivatives up to the second order; compute third ones by differences, and products with a Hessian by"
    " torch.func.jvp of torch.func.grad, as torch.autograd.functional.hvp passes through a third one"
)


def _batched(call: Callable[..., Tensor], size: int, in_dims: tuple[Any, ...], x: Tensor, *vectors: Tensor) -> tuple[Tensor, int]:
    """A call on points (n, D) and vectors (..., n, D) under `vmap`, where batched vectors have one more leading dimension."""
    if in_dims[0] is not None:
        raise NotSupportedError(_ROWS)
    dims = in_dims[1 : len(vectors) + 1]
    deepest = max(v.ndim - (dim is not None) for v, dim in zip(vectors, dims, strict=True))
    return call(x, *(_led(v, dim, size, deepest) for v, dim in zip(vectors, dims, strict=True))), 0


def _led(v: Tensor, dim: int | None, size: int, deepest: int) -> Tensor:
    """A vector (..., n, D) as (size, ..., n, D), of `deepest` + 1 dimensions."""
    v = v.expand(size, *v.shape) if dim is None else v.movedim(dim, 0)
    return v.reshape(size, *[1] * (deepest + 1 - v.ndim), *v.shape[1:])


def _summed(value: Tensor, like: Tensor) -> Tensor:
    """The sum over leading dimensions that `like` does not have."""
    return value.sum(dim=tuple(range(value.ndim - like.ndim))) if value.ndim > like.ndim else value


class _Constant(torch.autograd.Function):
    """(value, x) -> value, which must not be differentiated in x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, x: Tensor, reason: str) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.reason = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        if ctx.needs_input_grad[1]:
            raise NotSupportedError(ctx.reason)
        return grad, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, x_tangent: Tensor | None, _: Any) -> Tensor | None:
        if x_tangent is not None:
            raise NotSupportedError(ctx.reason)
        return tangent


class _Late(torch.autograd.Function):
    """(compute, reason, inputs) -> what `compute` gives, as a constant that must not be differentiated; it is called below every transform of `torch.func`."""

    @staticmethod
    def forward(compute: Callable[[], Tensor], reason: str, *inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return compute().clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.reason = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        raise NotSupportedError(ctx.reason)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise NotSupportedError(ctx.reason)

    @staticmethod
    def vmap(*_: Any) -> Any:
        raise NotSupportedError(_ROWS)


class _Known:
    """What was computed from plain tensors, and the Jacobians there."""

    def __init__(self, compute: Computed) -> None:
        self.compute = compute
        self.jacobians: Callable[[], tuple[Tensor, ...]] = tuple

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Tensor:
        value, jacobians = self.compute(*(x.detach() for x in inputs))
        self.jacobians = functools.cache(jacobians)
        return value


class _FirstOrder(torch.autograd.Function):
    """(known, reason, inputs) -> value (n, p), its Jacobians in the inputs (n, D) given."""

    @staticmethod
    def forward(known: _Known, reason: str, *inputs: Tensor) -> Tensor:
        return known(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.known, ctx.reason = inputs[:2]
        ctx.save_for_backward(*inputs[2:])
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return None, None, *((rows.mT @ grad.unsqueeze(-1)).squeeze(-1) for rows in _fixed(ctx))

    @staticmethod
    def jvp(ctx: Any, _known: Any, _reason: Any, *tangents: Tensor) -> Tensor:
        return torch.stack([(rows @ t.unsqueeze(-1)).squeeze(-1) for rows, t in zip(_fixed(ctx), tangents, strict=True)]).sum(0)

    @staticmethod
    def vmap(*_: Any) -> Any:
        raise NotSupportedError(_ROWS)


def _fixed(ctx: Any) -> list[Tensor]:
    """The Jacobians, which must not be differentiated in any of the inputs."""
    count = len(ctx.saved_tensors)
    return [_Late.apply(lambda i=i: ctx.known.jacobians()[i], ctx.reason, *ctx.saved_tensors) for i in range(count)]  # type: ignore[no-untyped-call]


class _Frames:
    """Tangent bases and second fundamental forms at plain points."""

    def __init__(self, basis: Callable[[Tensor], Tensor], form: Callable[[Tensor], Tensor]) -> None:
        self._basis, self._form = basis, form
        self.basis = torch.empty(0)
        self._x = self.basis

    @torch.no_grad()
    def at(self, x: Tensor) -> Tensor:
        self._x, self.basis = x, self._basis(x)
        return self.basis

    @functools.cached_property
    def form(self) -> Tensor:
        with torch.no_grad():
            return self._form(self._x)


class _Tangential(torch.autograd.Function):
    """(x, u) -> T T^t u."""

    @staticmethod
    def forward(x: Tensor, u: Tensor, frames: _Frames) -> Tensor:
        basis = frames.at(x.detach())
        return apply(basis, apply(basis.mT, u))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.frames = inputs[2]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        if grad is None:
            return None, None, None
        x, u = ctx.saved_tensors
        basis = _Late.apply(lambda: ctx.frames.basis, _TANGENTIAL, x)  # type: ignore[no-untyped-call]
        along = apply(basis.mT, grad)
        if not ctx.needs_input_grad[0]:
            return None, apply(basis, along), None
        form = _Late.apply(lambda: ctx.frames.form, _TANGENTIAL, x)  # type: ignore[no-untyped-call]
        turn = _paired(form, apply(basis.mT, u), grad) + _paired(form, along, u)
        return apply(basis, turn), apply(basis, along), None

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor | None, u_tangent: Tensor | None, _: Any) -> Tensor:
        x, u = ctx.saved_tensors
        basis = _Late.apply(lambda: ctx.frames.basis, _TANGENTIAL, x)  # type: ignore[no-untyped-call]
        total = torch.zeros_like(u) if u_tangent is None else apply(basis, apply(basis.mT, u_tangent))
        if x_tangent is None:
            return total
        form = _Late.apply(lambda: ctx.frames.form, _TANGENTIAL, x)  # type: ignore[no-untyped-call]
        along = apply(basis.mT, x_tangent)
        bent = ((form @ along[:, None, :, None]).squeeze(-1) @ apply(basis.mT, u).unsqueeze(-1)).squeeze(-1)
        return total + bent + apply(basis, _paired(form, along, u))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, u: Tensor, frames: _Frames) -> tuple[Tensor, int]:
        if in_dims[0] is not None:
            raise NotSupportedError(_ROWS)
        u = u.movedim(in_dims[1], 0)
        return torch.stack([_Tangential.apply(x, part, frames) for part in u]), 0  # type: ignore[no-untyped-call]


_TANGENTIAL = "proju: projected vectors have first derivatives in x only; compute second ones by differences"


def _paired(form: Tensor, along: Tensor, normal: Tensor) -> Tensor:
    """<II(T_i, a), n> (n, d) for a (n, d) and n (n, D)."""
    return ((form @ along[:, None, :, None]).squeeze(-1) * normal.unsqueeze(-1)).sum(-2)
