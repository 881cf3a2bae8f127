"""Diffusion within M: forward paths, heat kernel, reverse walk, and the fit of the score."""
