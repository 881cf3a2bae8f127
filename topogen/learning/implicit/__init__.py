"""Implicit manifolds from points: the constraint network, its denoising loss, and the fit."""
