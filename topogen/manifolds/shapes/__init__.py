"""Shapes whose truth is known: volume, topology, distance and exact uniform samples, for tests, trials and examples.

`SHAPES` maps a name to a constructor with default arguments, `get(name)` builds one. `FigureEight` is a sampler only.

>>> shape = get("klein_bottle")
>>> shape.betti(2), shape.betti(3), shape.orientable
((1, 2, 1), (1, 1, 0), False)
>>> import torch
>>> shape.sample(5, torch.Generator().manual_seed(0)).shape
torch.Size([5, 4])
"""

from __future__ import annotations

from collections.abc import Callable

from topogen.errors import InvalidInputError
from topogen.manifolds.shapes.bands import MoebiusBand, SwissRoll
from topogen.manifolds.shapes.base import Shape
from topogen.manifolds.shapes.figure_eight import FigureEight
from topogen.manifolds.shapes.genus_two import GenusTwo
from topogen.manifolds.shapes.knots import TrefoilKnot
from topogen.manifolds.shapes.one_sided import KleinBottle, ProjectivePlane
from topogen.manifolds.shapes.rotations import SpecialOrthogonal
from topogen.manifolds.shapes.spheres import Circle, LinkedCircles, Sphere, TwoSpheres
from topogen.manifolds.shapes.tori import FlatTorus, Torus

__all__ = [
    "SHAPES",
    "Circle",
    "FigureEight",
    "FlatTorus",
    "GenusTwo",
    "KleinBottle",
    "LinkedCircles",
    "MoebiusBand",
    "ProjectivePlane",
    "Shape",
    "SpecialOrthogonal",
    "Sphere",
    "SwissRoll",
    "Torus",
    "TrefoilKnot",
    "TwoSpheres",
    "get",
]

SHAPES: dict[str, Callable[[], Shape]] = {
    "circle": Circle,
    "linked_circles": LinkedCircles,
    "trefoil_knot": TrefoilKnot,
    "sphere": Sphere,
    "three_sphere": lambda: Sphere(3),
    "torus": Torus,
    "flat_torus": FlatTorus,
    "genus_two": GenusTwo,
    "moebius_band": MoebiusBand,
    "klein_bottle": KleinBottle,
    "projective_plane": ProjectivePlane,
    "special_orthogonal": SpecialOrthogonal,
    "swiss_roll": SwissRoll,
    "two_spheres": TwoSpheres,
}


def get(name: str) -> Shape:
    """The shape of that name with its default radii; raises InvalidInputError listing the names for an unknown one."""
    if name not in SHAPES:
        raise InvalidInputError(f"name: no shape is called {name!r}; known are {', '.join(SHAPES)}")
    return SHAPES[name]()
