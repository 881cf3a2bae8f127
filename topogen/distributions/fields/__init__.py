"""What diffusion and flow matching share: vector fields on M, the flow they generate, the law it begins from, data preparation, training."""
