"""Topology of clouds: landmarks, persistence, Betti numbers with their evidence, and what a user may expect.

`homology` answers "which Betti numbers has the set that these points sample", or says that it cannot; `persistence` gives the diagrams
underneath, `farthest_points` the landmarks, `estimate_cost` and `Budget` the price before it is paid, `parse` reads "torus" or "1,2,1".
`certify_level_set` proves homology on a grid, `Monitor` watches the Betti numbers of what is being trained. `nerve` and `sign_cocycle` read homology
and orientability off a cover by charts.
"""

from topogen.topology.budget import Budget, Cost, estimate_cost
from topogen.topology.expectations import Expectation, parse
from topogen.topology.homology import Homology, homology
from topogen.topology.landmarks import Landmarks, covering_radius, farthest_points
from topogen.topology.level_set import LevelSet, certify_level_set
from topogen.topology.monitor import Monitor, Reading
from topogen.topology.nerve import Nerve, nerve
from topogen.topology.orientation import Orientation, sign_cocycle
from topogen.topology.persistence import Diagram, jung, persistence

__all__ = [
    "Budget",
    "Cost",
    "Diagram",
    "Expectation",
    "Homology",
    "Landmarks",
    "LevelSet",
    "Monitor",
    "Nerve",
    "Orientation",
    "Reading",
    "certify_level_set",
    "covering_radius",
    "estimate_cost",
    "farthest_points",
    "homology",
    "jung",
    "nerve",
    "parse",
    "persistence",
    "sign_cocycle",
]
