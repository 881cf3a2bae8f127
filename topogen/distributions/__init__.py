"""Probability densities on manifolds, all with respect to the d-dimensional volume measure except `Thickened`, which is a density of R^D.

One density, one folder: the distribution, how it is fitted, and its entry of the table `DENSITIES`.
"""

from topogen.distributions.base import Density, DensityFacts, DensityRequest, FittedDensity
from topogen.distributions.charts.chart_mixture import ChartMixture
from topogen.distributions.charts.fit import FittedCharts, fit_charts, fit_fine_charts
from topogen.distributions.density_table import DENSITIES
from topogen.distributions.diffusion.diffusion import Diffusion
from topogen.distributions.diffusion.fit import fit_diffusion
from topogen.distributions.diffusion.reverse import inpaint, reverse_walk
from topogen.distributions.energy.energy import Energy
from topogen.distributions.energy.fit import FittedEnergy, fit_energy
from topogen.distributions.energy.tangent_kernels import TangentKernels
from topogen.distributions.fields.prepare import Sizes, field_settings
from topogen.distributions.fields.training import FittedField
from topogen.distributions.flow.fit import fit_flow
from topogen.distributions.flow.flow import FlowMatching
from topogen.distributions.mixture import Mixture
from topogen.distributions.thickened import Thickened, same_measure
from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.uniform import Uniform

__all__ = [
    "DENSITIES",
    "ChartMixture",
    "Density",
    "DensityFacts",
    "DensityRequest",
    "Diffusion",
    "Energy",
    "Estimate",
    "FittedCharts",
    "FittedDensity",
    "FittedEnergy",
    "FittedField",
    "FlowMatching",
    "Mixture",
    "Sizes",
    "TangentKernels",
    "Thickened",
    "Uniform",
    "field_settings",
    "fit_charts",
    "fit_diffusion",
    "fit_energy",
    "fit_fine_charts",
    "fit_flow",
    "inpaint",
    "reverse_walk",
    "same_measure",
]
