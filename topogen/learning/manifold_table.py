"""`MANIFOLDS`: every kind of manifold that `fit` and files know by name, and those of the entry point group `topogen.manifolds`."""

from topogen.entry_tables import Table
from topogen.learning.atlas.atlas_entry import atlas_entry
from topogen.learning.base import ManifoldKind
from topogen.learning.implicit.implicit_entry import ENTRY as IMPLICIT
from topogen.learning.shape_entry import ENTRY as SHAPE
from topogen.learning.subspace_entry import subspace_entry

__all__ = ["MANIFOLDS"]

MANIFOLDS: Table[ManifoldKind] = Table("topogen.manifolds", ManifoldKind, (IMPLICIT, atlas_entry(lambda: MANIFOLDS), SHAPE, subspace_entry(lambda: MANIFOLDS)))
