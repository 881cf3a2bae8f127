"""Topology of clouds: landmarks, persistence, Betti numbers with their evidence, and what a user may expect.

`homology` answers "which Betti numbers has the set that these points sample", or says that it cannot; `persistence` gives the diagrams
underneath, `farthest_points` the landmarks, `estimate_cost` and `Budget` the price before it is paid, `parse` reads "torus" or "1,2,1".
`compare` puts two clouds side by side, `loops` says which points run around a hole.
`certify_level_set` proves homology on a grid, `Monitor` watches the Betti numbers of what is being trained. `nerve` and `sign_cocycle` read homology
and orientability off a cover by charts.
"""

from topogen.topology.agreement import Agreement, agreement
from topogen.topology.budget import Budget, Cost, estimate_cost
from topogen.topology.comparison import Comparison, compare
from topogen.topology.confidence import ConfidenceRadius, confidence_radius
from topogen.topology.counting import Window, excess, windows
from topogen.topology.cross_barcode import Divergence, cross_barcode, divergence
from topogen.topology.discrepancy import discrepancy
from topogen.topology.evenness import Evenness, evenness
from topogen.topology.expectations import Expectation, parse
from topogen.topology.hausdorff import Hausdorff, hausdorff
from topogen.topology.homology import Homology, homology
from topogen.topology.landmarks import Landmarks, covering_radius, farthest_points
from topogen.topology.level_set import LevelSet, certify_level_set
from topogen.topology.loops import Loop, loops
from topogen.topology.monitor import Monitor, Reading
from topogen.topology.nerve import Nerve, nerve
from topogen.topology.orientation import Orientation, sign_cocycle
from topogen.topology.overlap import overlap
from topogen.topology.persistence import Diagram, jung, persistence
from topogen.topology.robust import Robust, distance_to_measure, robust_homology
from topogen.topology.significance import Significance, significance
from topogen.topology.split_halves import bottleneck, split_halves
from topogen.topology.transport import transport

__all__ = [
    "Agreement",
    "Budget",
    "Comparison",
    "ConfidenceRadius",
    "Cost",
    "Diagram",
    "Divergence",
    "Evenness",
    "Expectation",
    "Hausdorff",
    "Homology",
    "Landmarks",
    "LevelSet",
    "Loop",
    "Monitor",
    "Nerve",
    "Orientation",
    "Reading",
    "Robust",
    "Significance",
    "Window",
    "agreement",
    "bottleneck",
    "certify_level_set",
    "compare",
    "confidence_radius",
    "covering_radius",
    "cross_barcode",
    "discrepancy",
    "distance_to_measure",
    "divergence",
    "estimate_cost",
    "evenness",
    "excess",
    "farthest_points",
    "hausdorff",
    "homology",
    "jung",
    "loops",
    "nerve",
    "overlap",
    "parse",
    "persistence",
    "robust_homology",
    "sign_cocycle",
    "significance",
    "split_halves",
    "transport",
    "windows",
]
