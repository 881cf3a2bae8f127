"""Flow matching within M: couplings of noise and data, interpolants, and the fit of the velocity."""
