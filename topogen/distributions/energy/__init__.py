"""Densities exp(-energy): the distribution, tangent kernels as proposal, the network that corrects them, and their fit."""
