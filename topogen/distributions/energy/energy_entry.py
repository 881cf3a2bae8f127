"""Learned energies in the table of densities. A file holds the network and the kernels that it corrects; their volume is not measured again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from topogen.distributions.base import Density, DensityFacts, DensityRequest, FittedDensity
from topogen.distributions.energy.correction_network import CorrectionNetwork
from topogen.distributions.energy.energy import Energy
from topogen.distributions.energy.fit import fit_energy
from topogen.distributions.energy.tangent_kernels import TangentKernels
from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import NotSupportedError
from topogen.manifolds.base import Manifold
from topogen.saving import Saved, part

__all__ = ["ENTRY"]

_SIZES = ("features", "frequency", "width", "depth", "bound")


def _fit(request: DensityRequest) -> FittedDensity:
    found = fit_energy(request.points, request.manifold.underlying, generator=request.generator, quiet=request.quiet)
    return FittedDensity(found.distribution, found.notes)


def _describe(energy: Energy, manifold: Manifold) -> Saved:
    network, kernels = energy.energy, energy.proposal
    if not (energy.tilt and isinstance(network, CorrectionNetwork) and isinstance(kernels, TangentKernels)):
        raise NotSupportedError("save: only learned energies can be saved; save the model without its tilt, and tilt it again after loading")
    uniform = kernels.uniform
    config = {
        "seed": energy.seed, "network": {name: getattr(network, name) for name in _SIZES}, "radius": kernels.radius, "kept": kernels.kept,
        "uniform": None if uniform is None else {"seed": uniform.seed, **_volume(uniform.volume)},
    }  # fmt: skip
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    return config, {**tensors, "centres": kernels.centres, "widths": kernels.widths, "weights": kernels.weights}


def _volume(volume: Estimate) -> dict[str, Any]:
    return {"volume": volume.value, "standard_error": volume.standard_error, "method": volume.method}


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> Energy:
    state = part(tensors, "network.")
    network = CorrectionNetwork(state["centre"], float(state["scale"]), **config["network"])
    network.load_state_dict(state)
    kernels = TangentKernels(
        manifold, tensors["centres"], tensors["widths"], tensors["weights"], float(config["radius"]), kept=float(config["kept"]),
        uniform=_known_uniform(config["uniform"], manifold, anchors),
    )  # fmt: skip
    return Energy(manifold, network.requires_grad_(False), proposal=kernels, tilt=True, seed=int(config["seed"]))


def _known_uniform(config: Mapping[str, Any] | None, manifold: Manifold, anchors: Tensor) -> Uniform | None:
    """A uniform distribution whose volume is known already."""
    if config is None:
        return None
    volume = Estimate(float(config["volume"]), float(config["standard_error"]), str(config["method"]))
    return Uniform(manifold, points=anchors, seed=int(config["seed"]), volume=volume)


def _facts(energy: Energy) -> DensityFacts:
    return DensityFacts({"log_normalizer": energy.log_normalizer().to_dict()})


ENTRY = Density(
    "energy",
    "exp(-energy): tangent kernels around the data, corrected by a network",
    _fit,
    lambda thing: isinstance(thing, Energy),
    _describe,
    _build,
    facts=_facts,
    seconds=lambda n, dim, ambient: 10 + 4e-3 * n,
)
