"""Clouds in and out: reading, checking, repairing, standardising and writing point clouds.

Everything that enters the library passes `as_points`; everything that comes from a disk passes `read`, which refuses what it
cannot trust before any parser sees it. Nothing is repaired in silence: `clean` returns what it did.
"""

from topogen.points.checking import as_points
from topogen.points.cleaning import Repairs, clean, distinct
from topogen.points.reading import read, read_mesh
from topogen.points.scaling import Similarity, standardise
from topogen.points.writing import write

__all__ = ["Repairs", "Similarity", "as_points", "clean", "distinct", "read", "read_mesh", "standardise", "write"]
