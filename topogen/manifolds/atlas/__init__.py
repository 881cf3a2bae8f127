"""Manifolds covered by charts: graph charts, flow charts, closest points, quadrature, the Laplacian."""
