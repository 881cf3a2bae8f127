"""Probability densities on manifolds, all with respect to the d-dimensional volume measure."""

from topogen.distributions.estimate import Estimate
from topogen.distributions.gibbs import Energy
from topogen.distributions.kernels import TangentKernels
from topogen.distributions.mixture import Mixture
from topogen.distributions.uniform import Uniform

__all__ = ["Energy", "Estimate", "Mixture", "TangentKernels", "Uniform"]
