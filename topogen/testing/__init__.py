"""Law suites that a new manifold inherits: base classes for pytest classes, nothing here needs pytest itself.

class TestMine(ManifoldLaws):
    def manifold(self): return Mine()
    def points(self, n, generator): return ...  # n points on it, float64
"""

from topogen.testing.manifolds import ManifoldLaws
from topogen.testing.shapes import ShapeLaws
from topogen.testing.tube import Tube, tube

__all__ = ["ManifoldLaws", "ShapeLaws", "Tube", "tube"]
