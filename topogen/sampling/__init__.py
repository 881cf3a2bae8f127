"""Markov chains on manifolds: an engine for many chains as one tensor, kernels, and how well they mix."""

from topogen.sampling.chains import Chains, Kernel, Proposal, first_step, run, warm_up
from topogen.sampling.kernels import KERNELS, sample
from topogen.sampling.mixing import autocorrelation_time, effective_sample_size, split_r_hat
from topogen.sampling.walk import TangentRandomWalk

__all__ = [
    "KERNELS",
    "Chains",
    "Kernel",
    "Proposal",
    "TangentRandomWalk",
    "autocorrelation_time",
    "effective_sample_size",
    "first_step",
    "run",
    "sample",
    "split_r_hat",
    "warm_up",
]
