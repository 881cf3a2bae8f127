"""What can be verified: a cloud, a file of one, a manifold, or a model that carries a manifold.

A manifold is turned into samples: a model draws its own, a manifold in closed form its exact ones, any other is sampled uniformly from known points
of it as starts. A model is recognised by what it has (`manifold`, `sample`), since models live above this room. A manifold in an affine subspace is judged in
its coordinates, where it has the same topology, and told where it lies.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.point_clouds import check_scale
from topogen.manifolds import Manifold
from topogen.points import as_points, read
from topogen.topology.inference.expectations import parse_expectation

__all__ = ["ManifoldInput", "as_cloud", "is_path", "manifold_input", "names_topology"]


@dataclass(frozen=True)
class ManifoldInput:
    """A manifold, a sampler of it `draw(n, generator) -> (n, D)`, its distribution where it has one, and points known to be near it.

    `placed`: the manifold in all coordinates, where `manifold` is its core in those of a subspace; None elsewhere. `model`: whether it came with a sampler of
    its own, as what is learned from data does.
    """

    manifold: Manifold
    draw: Callable[[int, torch.Generator], Tensor]
    distribution: Any
    points: Tensor | None
    placed: Manifold | None = None
    model: bool = False

    @property
    def name(self) -> str:
        """Kind, dimension and ambient dimension in words."""
        return f"{type(self.manifold).__name__} of dimension {self.manifold.dim} in R^{(self.placed or self.manifold).ambient_dim}"

    @property
    def ground(self) -> Manifold:
        """The manifold itself, or the shared sheet that an atlas describes."""
        return self.manifold.underlying

    @property
    def closed(self) -> bool:
        """Compact without boundary, as far as the manifold knows."""
        return self.manifold.closed

    @property
    def orientable(self) -> bool | None:
        """What the manifold knows before sampling; None where it does not."""
        return self.manifold.orientable


def is_path(value: Any) -> bool:
    """Whether a value names a file."""
    return isinstance(value, (str, os.PathLike))


def names_topology(value: Any) -> bool:
    """Whether a value is no file but a name such as "torus", or is Betti numbers."""
    if isinstance(value, (tuple, list)):
        return bool(value) and all(isinstance(b, int) for b in value)
    if not isinstance(value, str) or os.path.exists(value):
        return False
    try:
        parse_expectation(value)
    except InvalidInputError:
        return False
    return True


def as_cloud(value: Any, name: str) -> Tensor:
    """A cloud (n, D) float64 from a path, tensor or array; raises InvalidInputError or FileFormatError naming the argument `name`."""
    if not is_path(value):
        return _scaled(as_points(value, name=name, minimum=2), name)
    if os.path.isdir(value):
        raise InvalidInputError(f"{name}: {os.fspath(value)!r} is a folder; if it holds a saved model, pass topogen.load(folder)")
    return _scaled(as_points(read(value), name=name, minimum=2), name)


def _scaled(cloud: Tensor, name: str) -> Tensor:
    check_scale(cloud, name)
    return cloud


def manifold_input(subject: Any, known: Tensor | None, generator: torch.Generator, drawn: Tensor | None = None) -> ManifoldInput | None:
    """The subject as a manifold with a sampler, or None where it is neither a `Manifold` nor a model.

    A model with a density that is not uniform is judged on uniform samples of its manifold: where the density is low they would leave holes.
    `known` are points near it where they have its ambient dimension; the generator seeds the preparation of the sampler.
    `drawn` (k, D) are samples of a model drawn before, which are given out first where they are uniform.
    """
    found = _as_it_lies(subject, known, generator, drawn)
    if found is None:
        return None
    found = replace(found, model=not isinstance(subject, Manifold))
    return found if found.manifold.core is None else _in_subspace(found)


def _in_subspace(subject: ManifoldInput) -> ManifoldInput:
    """The same in the coordinates of the subspace."""
    placed, draw = subject.manifold, subject.draw
    points = None if subject.points is None else placed.coordinates(subject.points)
    core = cast(Manifold, placed.core)
    return replace(subject, manifold=core, draw=lambda n, generator: placed.coordinates(draw(n, generator)), points=points, placed=placed)


def _as_it_lies(subject: Any, known: Tensor | None, generator: torch.Generator, drawn: Tensor | None) -> ManifoldInput | None:
    if isinstance(subject, Manifold):
        starts = known if _fits(known, subject) else None if subject.closed_form else subject.underlying.known_points()
        distribution = None if subject.closed_form else _uniform(subject, starts, generator)
        return ManifoldInput(subject, _sampler(subject, distribution), distribution, starts)
    manifold = getattr(subject, "manifold", None)
    if not isinstance(manifold, Manifold) or not callable(getattr(subject, "sample", None)):
        return None
    if drawn is not None and not _fits(drawn, manifold):
        raise InvalidInputError(f"samples: expected points (k, {manifold.ambient_dim}) of the subject, found shape {tuple(drawn.shape)}")
    starts = known if _fits(known, manifold) else _own_points(subject)
    distribution, draw = getattr(subject, "distribution", None), subject.sample
    if distribution is not None and not hasattr(distribution, "volume"):
        return _as_it_lies(manifold, starts, generator, None)
    return ManifoldInput(manifold, _after(drawn, lambda n, generator: draw(n, generator=generator).detach().double()), distribution, starts)


def _after(drawn: Tensor | None, draw: Callable[[int, torch.Generator], Tensor]) -> Callable[[int, torch.Generator], Tensor]:
    """A sampler that gives out the points `drawn` before it draws."""
    left = torch.empty(0, 0) if drawn is None else drawn.detach().double()

    def sampler(n: int, generator: torch.Generator) -> Tensor:
        nonlocal left
        first, left = left[:n], left[n:]
        rest = n - len(first)
        return first if not rest else draw(rest, generator) if not len(first) else torch.cat([first, draw(rest, generator)])

    return sampler


def _fits(points: Tensor | None, manifold: Manifold) -> bool:
    return points is not None and points.shape[1] == manifold.ambient_dim


def _own_points(model: Any) -> Tensor | None:
    found = next((value for value in (getattr(model, name, None) for name in ("points", "anchors")) if value is not None), None)
    return None if found is None else as_points(found, name="subject.points")


def _uniform(manifold: Manifold, starts: Tensor | None, generator: torch.Generator) -> Any:
    from topogen.distributions.uniform.uniform import Uniform

    return Uniform(manifold, points=starts, generator=generator)


def _sampler(manifold: Manifold, distribution: Any) -> Callable[[int, torch.Generator], Tensor]:
    if manifold.closed_form:
        return lambda n, generator: manifold.sample(n, generator=generator).detach().double()
    return lambda n, generator: distribution.sample((n,), generator=generator).detach().double()
