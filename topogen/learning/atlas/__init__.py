"""Atlases from an implicit manifold: good covers by graph charts, disc atlases of flow charts."""
