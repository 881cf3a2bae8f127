"""Homology of level sets proved on grids, meshes of surfaces, spurious components."""
