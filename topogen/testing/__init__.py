"""Law suites that a new manifold or kernel inherits: base classes for pytest classes, nothing here needs pytest itself.

class TestMine(ManifoldLaws):
    def manifold(self): return Mine()
    def points(self, n, generator): return ...  # n points on it, float64

class TestMyKernel(SamplerLaws):
    def manifold(self): return Mine()
    def kernel(self): return MyKernel(Mine())
    def exact_sample(self, n, generator): return ...  # n draws from the law that the kernel keeps
"""

from topogen.testing.manifolds import ManifoldLaws
from topogen.testing.samplers import RoundTrip, SamplerLaws, rank_p_values
from topogen.testing.shapes import ShapeLaws
from topogen.testing.tube import Tube, tube

__all__ = ["ManifoldLaws", "RoundTrip", "SamplerLaws", "ShapeLaws", "Tube", "rank_p_values", "tube"]
