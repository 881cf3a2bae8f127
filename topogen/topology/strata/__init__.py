"""Sets that are no manifolds: where sheets cross or branch, and the homology of links there."""
