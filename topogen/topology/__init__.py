"""Topology of clouds: landmarks, persistence, Betti numbers with their evidence, and what a user may expect.

`homology` answers "which Betti numbers has the set that these points sample", or says that it cannot; `persistence` gives the diagrams
underneath, `farthest_points` the landmarks, `estimate_cost` and `Budget` the price before it is paid, `parse_expectation` reads "torus" or "1,2,1".
`compare` puts two clouds side by side, `loops` says which points run around a hole.
`certify_level_set` proves homology on a grid, `Monitor` watches the Betti numbers of what is being trained. `nerve` and `sign_cocycle` read homology
and orientability off a cover by charts.
"""

from topogen.geometry.clouds.farthest_points import Landmarks, covering_radius, farthest_points
from topogen.geometry.clouds.sampling_density import SamplingDensity, sampling_density
from topogen.topology.comparison.compare import Comparison, compare
from topogen.topology.comparison.mmd import mmd
from topogen.topology.comparison.mtop_divergence import MTopDivergence, cross_barcode, mtop_divergence
from topogen.topology.comparison.permutation_test import bottleneck, permutation_test
from topogen.topology.comparison.precision_recall import precision_recall
from topogen.topology.comparison.wasserstein import wasserstein
from topogen.topology.covers.nerve import Nerve, nerve
from topogen.topology.covers.orientation import Orientation, sign_cocycle
from topogen.topology.inference.agreement import Agreement, agreement
from topogen.topology.inference.confidence import ConfidenceRadius, confidence_radius
from topogen.topology.inference.expectations import Expectation, parse_expectation
from topogen.topology.inference.homology import Homology, homology
from topogen.topology.inference.landmark_bounds import Window, excess, windows
from topogen.topology.inference.monitor import Monitor, Reading
from topogen.topology.inference.robust import Robust, distance_to_measure, robust_homology
from topogen.topology.inference.significance import Significance, significance
from topogen.topology.level_sets.certificate import LevelSet, certify_level_set
from topogen.topology.persistence.budget import Budget, Cost, estimate_cost
from topogen.topology.persistence.hausdorff import Hausdorff, hausdorff
from topogen.topology.persistence.loops import Loop, loops
from topogen.topology.persistence.persistence import Diagram, jung, persistence

__all__ = [
    "Agreement",
    "Budget",
    "Comparison",
    "ConfidenceRadius",
    "Cost",
    "Diagram",
    "MTopDivergence",
    "SamplingDensity",
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
    "mmd",
    "distance_to_measure",
    "mtop_divergence",
    "estimate_cost",
    "sampling_density",
    "excess",
    "farthest_points",
    "hausdorff",
    "homology",
    "jung",
    "loops",
    "nerve",
    "precision_recall",
    "parse_expectation",
    "persistence",
    "robust_homology",
    "sign_cocycle",
    "significance",
    "permutation_test",
    "wasserstein",
    "windows",
]
