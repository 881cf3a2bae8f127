"""Probability densities on manifolds, all with respect to the d-dimensional volume measure."""

from topogen.distributions.estimate import Estimate
from topogen.distributions.uniform import Uniform

__all__ = ["Estimate", "Uniform"]
