"""Pure numerics on tensors and callables: projection, frames, curvature, neighbours, dimension, scales, meshes. Knows no manifold."""
