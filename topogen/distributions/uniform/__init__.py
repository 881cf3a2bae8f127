"""The uniform distribution on M and its volume: closed form, partition of unity, tube, Markov chains."""
