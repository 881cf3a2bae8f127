"""Constraints in closed form that several tests share: tori, an ellipse and rotations, regular and overcomplete."""

import torch
from torch import Tensor

from topogen.geometry.clouds.scales import estimate_scales
from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.learning.implicit.denoising_loss import learn_constraint
from topogen.learning.implicit.fit import hull_of, manifold_of
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Torus
from topogen.training.trainer import Settings


def torus_distance(x: Tensor) -> Tensor:
    """Signed distance (n, 1) to the torus of radii 1 and .4."""
    ring = (x[..., 0] ** 2 + x[..., 1] ** 2).sqrt() - 1.0
    return ((ring**2 + x[..., 2] ** 2).sqrt() - 0.4).unsqueeze(-1)


def drifting_torus(x: Tensor, drift: float = 0.01) -> Tensor:
    """Distance times its gradient, plus a part outside of the kept range that does not vanish on M: m = 3, rank 1, tilted truncated tangents."""
    value = torus_distance(x)
    normal = torch.func.vmap(torch.func.grad(lambda y: torus_distance(y)[0]))(x)
    return value * normal + drift * torch.stack([torch.sin(2 * x[..., 1]), torch.cos(x[..., 0]), x[..., 2] ** 2], -1)


def tall_torus(x: Tensor, drift: float = 0.02) -> Tensor:
    """The drifting torus with two outputs more than coordinates: m = 5, rank 1, and F has a part on M that no column of its Jacobian reaches."""
    return torch.cat([drifting_torus(x), drift * torch.stack([1 + torch.sin(2 * x[..., 0]) * x[..., 1], torch.cos(x[..., 2] + x[..., 1])], -1)], -1)


def torus(x: Tensor) -> Tensor:
    """A level function (n, 1) of the torus of radii 1 and .5, whose gradient is of length one there but not elsewhere."""
    return ((x[:, :2].norm(dim=1) - 1) ** 2 + x[:, 2] ** 2 - 0.25).unsqueeze(1)


def overcomplete_torus(x: Tensor) -> Tensor:
    """Distance to the torus of radii 1 and .5 times its gradient: three outputs of rank one, with zeros of the kept section inside the tube."""
    axis = x[:, :2] / x[:, :2].norm(dim=1, keepdim=True)
    spoke = x - torch.cat([axis, torch.zeros_like(axis[:, :1])], 1)
    length = spoke.norm(dim=1, keepdim=True)
    return spoke / length * (length - 0.5)


def ellipse(x: Tensor) -> Tensor:
    """The ellipse with half-axes 3 and 1: length 13.3648932205553, mean of x^2 by length 3.4758."""
    return (x[:, :1] ** 2 / 9 + x[:, 1:] ** 2 - 1) / 2


def rotations(x: Tensor) -> Tensor:
    """X X^t = I for 3 x 3 matrices: six constraints, two components det = +-1."""
    matrix = x.reshape(-1, 3, 3)
    rest = matrix @ matrix.mT - torch.eye(3, dtype=x.dtype)
    rows, columns = torch.triu_indices(3, 3)
    return rest[:, rows, columns]


def learned_circle() -> ImplicitManifold:
    """A small network fitted to the distance from the unit circle in the plane."""
    made = ConstraintNetwork(torch.zeros(2), 1.0, torch.eye(2), 1, width=16, depth=2, generator=torch.Generator().manual_seed(0))
    generator, adam = torch.Generator().manual_seed(1), torch.optim.Adam(made.parameters(), 1e-2)
    for _ in range(400):
        x = 3 * torch.rand(256, 2, generator=generator) - 1.5
        loss = (made(x)[:, 0] - (x.norm(dim=1) - 1)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return ImplicitManifold(made, 1)


def learned_torus() -> ImplicitManifold:
    """The torus of radii 1 and .5, learned in a few seconds by a small network with two outputs more than coordinates."""
    generator = torch.Generator().manual_seed(0)
    x = Torus(1.0, 0.5).sample(1000, generator=generator)
    hull = hull_of(x, 2)
    scales = estimate_scales(hull.coordinates(x), 2, generator=generator)
    settings = Settings(steps=700, batch_size=256, rate=3e-3, held_out=0.0)
    return manifold_of(learn_constraint(x, 2, hull, scales, closed=False, width=32, settings=settings, generator=generator, quiet=True), 2)
