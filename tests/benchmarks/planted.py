"""Models that are wrong about the cloud beside them, and ones that are right: what `verify` has to tell apart.

A planted model knows its Betti numbers, so that no lack of samples keeps it from being confirmed: only the data can. Surfaces in R^3 are zero sets of signed
distances joined by a smooth minimum,

    min_k(a, b) = -k log(exp(-a / k) + exp(-b / k)),

and are drawn from a thin shell, which is nearly uniform. Each kind draws its own sizes and places from the generator.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import topogen
from topogen.manifolds import ImplicitManifold, Manifold, shapes
from topogen.manifolds.base import Projection
from topogen.manifolds.shapes import GenusTwo, MoebiusBand, Sphere, Torus
from topogen.training.trainer import Settings

Function = Callable[[Tensor], Tensor]
Sampler = Callable[[int, torch.Generator], Tensor]
BLEND = 0.03


class Planted(NamedTuple):
    """A model, the sampler of what is true, and the noise's unit, the diameter of what is true."""

    model: object
    truth: Sampler
    diameter: float


class Known:
    """What `verify` takes for a model: a manifold and a sampler."""

    def __init__(self, manifold: Manifold, sampler: Sampler) -> None:
        self.manifold, self._sampler = manifold, sampler

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self._sampler(n, generator)


class Level(ImplicitManifold):
    """The surface f = 0 in R^3 whose Betti numbers are known, with `draw` from the shell |f| < `width` |grad f| within a box of half sides `box`."""

    def __init__(self, f: Function, betti: tuple[int, ...], box: tuple[float, float, float]) -> None:
        super().__init__(lambda x: f(x).unsqueeze(-1), 2, ambient_dim=3)
        self.f, self.numbers, self.box = f, betti, torch.tensor(box, dtype=torch.float64)

    def betti(self, field: int = 2) -> tuple[int, ...]:
        return self.numbers

    def draw(self, n: int, generator: torch.Generator, width: float = 0.04) -> Tensor:
        kept: list[Tensor] = []
        while sum(map(len, kept)) < n:
            x = self.box * (2 * torch.rand(40_000, 3, generator=generator, dtype=torch.float64) - 1)
            with torch.enable_grad():
                at = x.clone().requires_grad_()
                value = self.f(at)
                slope = torch.autograd.grad(value.sum(), at)[0].norm(dim=1)
            x = x[value.detach().abs() < width * slope][:n]
            found = self.with_fast_projection().project(x)
            kept.append(found.points[found.converged].detach())
        return torch.cat(kept)[:n]


class Curve(Manifold):
    """The closed curve c(t), t in [0, 2 pi), in R^D: closest points by a table and Newton steps on <x - c, c'>."""

    TABLE = 4096

    def __init__(self, curve: Function, ambient_dim: int) -> None:
        super().__init__(1, ambient_dim)
        self.curve = curve
        self.t = torch.linspace(0, 2 * math.pi, self.TABLE + 1, dtype=torch.float64)[:-1]
        self.table = curve(self.t)

    def betti(self, field: int = 2) -> tuple[int, ...]:
        return (1, 1)

    def _jet(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = 1e-4
        before, at, after = self.curve(t - h), self.curve(t), self.curve(t + h)
        return at, (after - before) / (2 * h), (after - 2 * at + before) / h**2

    def _parameter(self, x: Tensor) -> Tensor:
        t = self.t[torch.cdist(x, self.table).argmin(1)]
        for _ in range(5):
            at, first, second = self._jet(t)
            bend = (first.square() - (x - at) * second).sum(1).clamp_min(1e-3 * first.square().sum(1))
            t = t + ((x - at) * first).sum(1) / bend
        return t

    def _project(self, x: Tensor) -> Projection:
        points = self.curve(self._parameter(x.detach()))
        return Projection(points, torch.zeros(len(x)), torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.int64))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        first = self._jet(self._parameter(x))[1]
        return (first / first.norm(dim=1, keepdim=True)).unsqueeze(-1)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        return self.curve(2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64))


class Cylinder(Manifold):
    """The band x^2 + y^2 = 1, |z| <= w: orientable, with a boundary."""

    closed, orientable = False, True

    def __init__(self, w: float) -> None:
        super().__init__(2, 3)
        self.w = w

    def betti(self, field: int = 2) -> tuple[int, ...]:
        return (1, 1, 0)

    def _project(self, x: Tensor) -> Projection:
        flat = x[:, :2] / x[:, :2].norm(dim=1, keepdim=True).clamp_min(1e-12)
        points = torch.cat([flat, x[:, 2:].clamp(-self.w, self.w)], 1)
        return Projection(points, torch.zeros(len(x)), torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.int64))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        zero = torch.zeros(len(x), dtype=torch.float64)
        return torch.stack([torch.stack([-x[:, 1], x[:, 0], zero], 1), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(len(x), 3)], 2)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        angle, height = torch.rand(2, n, generator=generator, dtype=torch.float64) * 2 - 1
        return torch.stack([(math.pi * angle).cos(), (math.pi * angle).sin(), self.w * height], 1)


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand(1, generator=generator, dtype=torch.float64))


def _joined(a: Tensor, b: Tensor) -> Tensor:
    return -BLEND * torch.logsumexp(-torch.stack([a, b]) / BLEND, 0)


def _sphere(radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Function:
    middle = torch.tensor(centre, dtype=torch.float64)
    return lambda x: (x - middle).norm(dim=-1) - radius


def _torus(big: float, small: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Function:
    middle = torch.tensor(centre, dtype=torch.float64)
    return lambda x: torch.hypot((x - middle)[..., :2].norm(dim=-1) - big, x[..., 2] - middle[2]) - small


def _rod(half: float, radius: float) -> Function:
    """Around the segment of the x-axis from -half to half."""
    return lambda x: torch.cat([x[..., :1] - x[..., :1].clamp(-half, half), x[..., 1:]], -1).norm(dim=-1) - radius


def _both(first: Sampler, second: Sampler, share: float) -> Sampler:
    """A `share` of the points of the first, the others of the second, in random order."""

    def draw(n: int, generator: torch.Generator) -> Tensor:
        count = round(share * n)
        points = torch.cat([first(count, generator), second(n - count, generator)])
        return points[torch.randperm(n, generator=generator)]

    return draw


def _ball_surface(radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Sampler:
    middle = torch.tensor(centre, dtype=torch.float64)
    return lambda n, generator: Sphere(radius=radius).sample(n, generator) + middle


def _of(manifold: Level | Curve | Cylinder) -> Known:
    return Known(manifold, manifold.draw)


def _shape(name: str) -> tuple[Known, float]:
    shape = shapes.get(name)
    return Known(shape, shape.sample), shape.diameter


def sphere_through_a_torus(generator: torch.Generator) -> Planted:
    torus = Torus(1.0, _between(0.2, 0.6, generator))
    radius = float(torus.sample(4000, generator).norm(dim=1).mean())
    return Planted(_of(Level(_sphere(radius), (1, 0, 1), (1.8, 1.8, 1.8))), torus.sample, torus.diameter)


def handle_added(generator: torch.Generator) -> Planted:
    """A ring that stands out of a sphere."""
    big, small = _between(0.25, 0.5, generator), _between(0.08, 0.15, generator)
    ring, ball = _torus(big, small, (1.0, 0.0, 0.0)), _sphere(1.0)
    surface = Level(lambda x: _joined(ball(x), ring(x)), (1, 2, 1), (1.8, 1.2, 1.2))
    return Planted(_of(surface), Sphere().sample, 2.0)


def handle_filled(generator: torch.Generator) -> Planted:
    """A torus whose hole is plugged by a ball."""
    small = _between(0.4, 0.8, generator)
    tube, plug = _torus(1.0, small), _sphere(1.1 - small)
    surface = Level(lambda x: _joined(tube(x), plug(x)), (1, 0, 1), (1.9, 1.9, 0.9))
    torus = Torus(1.0, small)
    return Planted(_of(surface), torus.sample, torus.diameter)


def bridge(generator: torch.Generator) -> Planted:
    """A tube between two spheres."""
    gap, radius = _between(0.2, 1.0, generator), _between(0.1, 0.3, generator)
    away = 1.0 + gap / 2
    left, right, rod = _sphere(1.0, (-away, 0.0, 0.0)), _sphere(1.0, (away, 0.0, 0.0)), _rod(away, radius)
    surface = Level(lambda x: _joined(_joined(left(x), right(x)), rod(x)), (1, 0, 1), (away + 1.1, 1.1, 1.1))
    truth = _both(_ball_surface(1.0, (-away, 0.0, 0.0)), _ball_surface(1.0, (away, 0.0, 0.0)), 0.5)
    return Planted(_of(surface), truth, 2 * away + 2)


def missing_component(generator: torch.Generator) -> Planted:
    """The larger of two spheres."""
    radius, share = _between(0.2, 0.5, generator), _between(0.05, 0.3, generator)
    away = 1.0 + radius + _between(0.2, 1.0, generator)
    truth = _both(_ball_surface(radius, (away, 0.0, 0.0)), Sphere().sample, share)
    return Planted(_of(Level(_sphere(1.0), (1, 0, 1), (1.1, 1.1, 1.1))), truth, 1.0 + away + radius)


def two_sheets_merged(generator: torch.Generator) -> Planted:
    """One sphere in the middle of two concentric ones."""
    gap = _between(0.1, 0.4, generator)
    truth = _both(_ball_surface(1.0 - gap / 2), _ball_surface(1.0 + gap / 2), 0.5)
    return Planted(_of(Level(_sphere(1.0), (1, 0, 1), (1.1, 1.1, 1.1))), truth, 2.0 + gap)


def annulus_for_a_moebius_band(generator: torch.Generator) -> Planted:
    width = _between(0.2, 0.6, generator)
    band = MoebiusBand(1.0, width)
    return Planted(_of(Cylinder(width)), band.sample, band.diameter)


OTHERS = ("sphere", "two_spheres", "torus", "genus_two", "trefoil_knot", "linked_circles")


def another_cloud(generator: torch.Generator) -> Planted:
    """A shape beside the points of another one, brought to the same size."""
    first, second = torch.randperm(len(OTHERS), generator=generator)[:2].tolist()
    model, _ = _shape(OTHERS[first])
    other = shapes.get(OTHERS[second])
    size = [float(s.sample(4000, generator).norm(dim=1).square().mean().sqrt()) for s in (model, Known(other, other.sample))]
    factor = size[0] / size[1]
    return Planted(model, lambda n, source: factor * other.sample(n, source), factor * other.diameter)


def ghost_seen(generator: torch.Generator) -> Planted:
    """A sphere of its own inside of what is true, where samples reach it."""
    radius = _between(0.15, 0.4, generator)
    outer, inner = _sphere(1.0), _sphere(radius)
    return Planted(_of(Level(lambda x: outer(x) * inner(x), (2, 0, 2), (1.1, 1.1, 1.1))), Sphere().sample, 2.0)


def ghost_hidden(generator: torch.Generator) -> Planted:
    """The same where no sample reaches it, and the model thinks that it is one sphere."""
    radius = _between(0.15, 0.4, generator)
    outer, inner = _sphere(1.0), _sphere(radius)
    manifold = Level(lambda x: outer(x) * inner(x), (1, 0, 1), (1.1, 1.1, 1.1))
    return Planted(Known(manifold, Sphere().sample), Sphere().sample, 2.0)


def scaled(generator: torch.Generator) -> Planted:
    """1.2 times as large as what is true."""
    name = ("sphere", "torus", "genus_two", "klein_bottle", "trefoil_knot", "flat_torus")[int(torch.randint(6, (1,), generator=generator))]
    model, diameter = _shape(name)
    shape = shapes.get(name)
    return Planted(model, lambda n, source: shape.sample(n, source) / 1.2, diameter / 1.2)


def equator_of_a_sphere(generator: torch.Generator) -> Planted:
    """A curve that winds round a sphere from pole to pole and back: one dimension too low."""
    turns = int(torch.randint(1, 25, (1,), generator=generator))

    def winding(t: Tensor) -> Tensor:
        height = t.cos() * 0.98
        ring = (1 - height.square()).sqrt()
        turn = turns * t
        return torch.stack([ring * turn.cos(), ring * turn.sin() + 0.02 * t.sin(), height], 1)

    return Planted(_of(Curve(winding, 3)), Sphere().sample, 2.0)


def winding_on_a_torus(generator: torch.Generator) -> Planted:
    """A curve that winds once around the hole of a torus and often around its tube."""
    small, turns = _between(0.3, 0.6, generator), int(torch.randint(3, 40, (1,), generator=generator))

    def winding(t: Tensor) -> Tensor:
        ring = 1 + small * (turns * t).cos()
        return torch.stack([ring * t.cos(), ring * t.sin(), small * (turns * t).sin()], 1)

    torus = Torus(1.0, small)
    return Planted(_of(Curve(winding, 3)), torus.sample, torus.diameter)


def _learned(points: Tensor, dim: int, seed: int, steps: int | None = None) -> topogen.Model:
    if steps is None:
        return topogen.fit(points, dim=dim, density="uniform", seed=seed, constraint="local", quiet=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it is underfit is what is planted
        return topogen.fit(points, dim=dim, density="uniform", seed=seed, constraint="neural", settings=Settings(steps=steps), quiet=True)


def hundred_steps(generator: torch.Generator) -> Planted:
    """A network that was trained for a hundred steps."""
    name = ("genus_two", "torus", "klein_bottle", "trefoil_knot", "linked_circles")[int(torch.randint(5, (1,), generator=generator))]
    shape = shapes.get(name)
    return Planted(_learned(shape.sample(1000, generator), shape.dim, 0, steps=100), shape.sample, shape.diameter)


def learned_from_another(generator: torch.Generator) -> Planted:
    """What was learned from a torus of another tube."""
    small = _between(0.25, 0.5, generator)
    other = Torus(1.0, small + 0.2)
    return Planted(_learned(Torus(1.0, small).sample(1000, generator), 2, 0), other.sample, other.diameter)


def learned_from_a_part(generator: torch.Generator) -> Planted:
    """What was learned from two thirds of a surface of genus two, which has one handle."""
    shape = GenusTwo()
    points = shape.sample(1500, generator)
    return Planted(_learned(points[points[:, 0] < 0.3 * shape.diameter / 2], 2, 0), shape.sample, shape.diameter)


WRONG: dict[str, Callable[[torch.Generator], Planted]] = {
    made.__name__: made
    for made in (
        sphere_through_a_torus, handle_added, handle_filled, bridge, missing_component, two_sheets_merged, annulus_for_a_moebius_band, another_cloud,
        ghost_seen, ghost_hidden, scaled, equator_of_a_sphere, winding_on_a_torus, hundred_steps, learned_from_another, learned_from_a_part,
    )
}  # fmt: skip
LEARNED = ("hundred_steps", "learned_from_another", "learned_from_a_part")
GROSS = ("sphere_through_a_torus", "handle_added", "handle_filled", "missing_component", "another_cloud")
