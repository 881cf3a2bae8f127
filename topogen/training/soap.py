"""SOAP: Adam in the eigenbasis of Shampoo's preconditioners.

For a weight matrix W with gradient G, and moving averages L of G G^t and R of G^t G with eigenvectors Q_L, Q_R,

    W  <-  W - rate  Q_L  Adam( Q_L^t G Q_R )  Q_R^t .

The bases are refreshed every few steps by one power iteration and QR; biases and the like get plain Adam. Per step it costs some products of
matrices of the size of the weights, little beside a batch, and it reaches in a third of Adam's steps what a small smooth network needs thousands for.
Vyas et al. (2025), SOAP: improving and stabilizing Shampoo using Adam; Gupta, Koren, Singer (2018), Shampoo: preconditioned stochastic tensor optimization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Soap"]

LARGEST = 1024
State = dict[str, Any]


class Soap(torch.optim.Optimizer):
    """SOAP over `parameters` at `rate`.

    `betas`: memory of the mean gradient and of the second moments; `every`: steps between refreshments of the bases. A side of a matrix
    longer than LARGEST keeps the coordinate basis. The first step only starts the bases and moves nothing.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, betas: tuple[float, float] = (0.95, 0.95), every: int = 10, eps: float = 1e-8) -> None:
        super().__init__(parameters, {"lr": rate, "betas": betas, "every": every, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; `closure`, where given, computes the gradients anew, and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _advance(parameter, parameter.grad, self.state[parameter], group)
        return loss


def _advance(parameter: Tensor, gradient: Tensor, state: State, group: State) -> None:
    if not state:
        _begin(gradient, state)
        return
    (first, second), state["count"] = group["betas"], state["count"] + 1
    turned = _into(gradient, state)
    state["mean"].lerp_(gradient, 1 - first)
    state["square"].lerp_(turned.square(), 1 - second)
    mean, square = _into(state["mean"], state) / (1 - first ** state["count"]), state["square"] / (1 - second ** state["count"])
    parameter.add_(_out_of(mean / (square.sqrt() + group["eps"]), state), alpha=-group["lr"])
    for side, product in _products(gradient, state):
        state[side].lerp_(product, 1 - second)
    if state["count"] == 1 or state["count"] % group["every"] == 0:
        _refresh(state)


def _begin(gradient: Tensor, state: State) -> None:
    state.update(count=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
    if gradient.ndim != 2:
        return
    for side, size in (("left", gradient.shape[0]), ("right", gradient.shape[1])):
        if size <= LARGEST:
            state[side] = gradient.new_zeros(size, size)
    for side, product in _products(gradient, state):
        state[side] = product
        # ties and zeros of a gradient of low rank are told apart by eigh alone, whatever their scale
        state[f"{side}_basis"] = torch.linalg.eigh(product).eigenvectors.flip(1)


def _products(gradient: Tensor, state: State) -> list[tuple[str, Tensor]]:
    """The sides that are preconditioned, with G G^t for the left and G^t G for the right."""
    left = [("left", gradient @ gradient.mT)] if "left" in state else []
    return left + ([("right", gradient.mT @ gradient)] if "right" in state else [])


def _into(matrix: Tensor, state: State) -> Tensor:
    """Q_L^t M Q_R."""
    matrix = state["left_basis"].mT @ matrix if "left" in state else matrix
    return matrix @ state["right_basis"] if "right" in state else matrix


def _out_of(matrix: Tensor, state: State) -> Tensor:
    """Q_L M Q_R^t."""
    matrix = state["left_basis"] @ matrix if "left" in state else matrix
    return matrix @ state["right_basis"].mT if "right" in state else matrix


def _refresh(state: State) -> None:
    """One power iteration per side, its directions kept in falling order, the second moments along with them."""
    for side, dim in (("left", 0), ("right", 1)):
        if side not in state:
            continue
        basis = state[f"{side}_basis"]
        moved = state[side] @ basis
        order = (basis * moved).sum(0).argsort(descending=True)
        state["square"] = state["square"].index_select(dim, order)
        state[f"{side}_basis"] = torch.linalg.qr(moved[:, order]).Q
