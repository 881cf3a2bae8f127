"""`DENSITIES`: every density that `fit` knows by name, one entry per folder, and those of the entry point group `topogen.densities`."""

from topogen.distributions.base import Density
from topogen.distributions.charts.charts_entry import ENTRY as CHARTS
from topogen.distributions.charts.charts_entry import FLOWS
from topogen.distributions.diffusion.diffusion_entry import ENTRY as DIFFUSION
from topogen.distributions.energy.energy_entry import ENTRY as ENERGY
from topogen.distributions.flow.flow_entry import ENTRY as FLOW
from topogen.distributions.uniform.uniform_entry import ENTRY as UNIFORM
from topogen.entry_tables import Table

__all__ = ["DENSITIES"]

DENSITIES: Table[Density] = Table("topogen.densities", Density, (UNIFORM, ENERGY, FLOWS, CHARTS, DIFFUSION, FLOW))
