"""Mixtures over charts: exactly normalised and sampled densities, and their fit by expectation maximisation or flows in balls."""
