"""Probability densities on manifolds, all with respect to the d-dimensional volume measure except `Thickened`, which is a density of R^D."""

from topogen.distributions.charts import ChartMixture
from topogen.distributions.diffusion import Diffusion
from topogen.distributions.estimate import Estimate
from topogen.distributions.flow_matching import FlowMatching
from topogen.distributions.gibbs import Energy
from topogen.distributions.kernels import TangentKernels
from topogen.distributions.mixture import Mixture
from topogen.distributions.reverse import inpaint, reverse_walk
from topogen.distributions.thickened import Thickened
from topogen.distributions.uniform import Uniform

__all__ = ["ChartMixture", "Diffusion", "Energy", "Estimate", "FlowMatching", "Mixture", "TangentKernels", "Thickened", "Uniform", "inpaint", "reverse_walk"]
