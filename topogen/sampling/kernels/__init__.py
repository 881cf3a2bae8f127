"""Markov kernels on manifolds: the tangent move they share, random walk, Langevin, Hamiltonian Monte Carlo, jumps between components."""
