"""Markov chains on manifolds: an engine for many chains as one tensor, kernels, and how well they mix."""

from topogen.sampling.arviz_bridge import to_arviz
from topogen.sampling.brownian import brownian, brownian_paths
from topogen.sampling.chains import Kernel, Proposal, Run, first_step, run_chains, warm_up
from topogen.sampling.diagnostics import autocorrelation_time, bulk_ess, effective_sample_size, mean_ess, mean_standard_error, rank_r_hat, split_r_hat, tail_ess
from topogen.sampling.kernels.hmc import HamiltonianMonteCarlo
from topogen.sampling.kernels.jumps import PlaneJump
from topogen.sampling.kernels.langevin import ConstrainedLangevin
from topogen.sampling.kernels.walk import TangentRandomWalk
from topogen.sampling.result import Chains
from topogen.sampling.sampler import KERNELS, sample
from topogen.sampling.target import Target
from topogen.sampling.visits import Visits, mixture, visits, weighted_mean

__all__ = [
    "KERNELS",
    "Chains",
    "ConstrainedLangevin",
    "HamiltonianMonteCarlo",
    "Kernel",
    "Proposal",
    "Run",
    "Target",
    "TangentRandomWalk",
    "PlaneJump",
    "Visits",
    "autocorrelation_time",
    "brownian",
    "brownian_paths",
    "bulk_ess",
    "effective_sample_size",
    "first_step",
    "mean_ess",
    "mean_standard_error",
    "mixture",
    "rank_r_hat",
    "run_chains",
    "sample",
    "split_r_hat",
    "tail_ess",
    "to_arviz",
    "visits",
    "weighted_mean",
    "warm_up",
]
