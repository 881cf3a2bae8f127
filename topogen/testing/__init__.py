"""Law suites that a new manifold, density or kernel inherits: base classes for pytest classes, nothing here needs pytest itself.

class TestMine(ManifoldLaws):
    def manifold(self): return Mine()
    def points(self, n, generator): return ...  # n points on it, float64

class TestMyDensity(DensityLaws):
    def distribution(self): return MyDensity(Mine())

class TestMyKernel(SamplerLaws):
    def manifold(self): return Mine()
    def kernel(self): return MyKernel(Mine())
    def exact_sample(self, n, generator): return ...  # n draws from the law that the kernel keeps
"""

from topogen.testing.density_laws import DensityLaws
from topogen.testing.manifold_laws import ManifoldLaws
from topogen.testing.sampler_laws import RoundTrip, SamplerLaws, rank_p_values
from topogen.testing.shape_laws import ShapeLaws
from topogen.testing.tube_samples import TubeSamples, tube_samples

__all__ = ["DensityLaws", "ManifoldLaws", "RoundTrip", "SamplerLaws", "ShapeLaws", "TubeSamples", "rank_p_values", "tube_samples"]
