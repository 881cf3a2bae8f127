"""Every shape obeys every law of `topogen.testing.ShapeLaws`."""

import math

import torch

from topogen.manifolds import shapes
from topogen.testing import ShapeLaws

GENUS_TWO = shapes.GenusTwo()  # one instance, its quadrature and seeds are made once


class TestCircle(ShapeLaws):
    def shape(self):
        return shapes.Circle()


class TestSmallCircle(ShapeLaws):
    scale, reach = 2e-3, 5e-3
    samples = 1000

    def shape(self):
        return shapes.Circle(radius=0.01)


class TestLinkedCircles(ShapeLaws):
    def shape(self):
        return shapes.LinkedCircles()


class TestTrefoilKnot(ShapeLaws):
    scale, reach = 0.1, 0.15

    def shape(self):
        return shapes.TrefoilKnot()


class TestSphere(ShapeLaws):
    def shape(self):
        return shapes.Sphere()


class TestThreeSphere(ShapeLaws):
    def shape(self):
        return shapes.Sphere(3, radius=2.0)


class TestTorus(ShapeLaws):
    scale = 0.1

    def shape(self):
        return shapes.Torus()


class TestFlatTorus(ShapeLaws):
    reach = 0.5

    def shape(self):
        return shapes.FlatTorus()


class TestTwoSpheres(ShapeLaws):
    def shape(self):
        return shapes.TwoSpheres()


class TestKleinBottle(ShapeLaws):
    scale = 0.1

    def shape(self):
        return shapes.KleinBottle()


class TestProjectivePlane(ShapeLaws):
    scale, reach = 0.1, 0.25

    def shape(self):
        return shapes.ProjectivePlane()


class TestSpecialOrthogonal(ShapeLaws):
    reach = 0.9
    tube_draws = 20000

    def shape(self):
        return shapes.SpecialOrthogonal()


class TestGenusTwo(ShapeLaws):
    scale, reach = 0.1, 0.25

    def shape(self):
        return GENUS_TWO


class TestMoebiusBand(ShapeLaws):
    scale, reach = 0.1, 0.2

    def shape(self):
        return shapes.MoebiusBand()

    def inside(self, x):
        return self.shape().parameters_of(x)[:, 1].abs() < 0.3


class TestSwissRoll(ShapeLaws):
    reach = 0.25

    def shape(self):
        return shapes.SwissRoll()

    def inside(self, x):
        t, h = self.shape().parameters_of(x).T
        return ((t - 3 * math.pi).abs() < 1.4 * math.pi) & ((h - 10.5).abs() < 8.5)


def test_law_classes_cover_the_registry():
    covered = {type(law().shape()) for law in ShapeLaws.__subclasses__()}
    assert {type(shapes.get(name)) for name in shapes.SHAPES} <= covered
    assert torch.get_default_dtype() == torch.float32
