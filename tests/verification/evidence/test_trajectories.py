"""A trajectory that fills its set, and points that were measured several times, confirm a right model and no wrong one."""

import math

import pytest
import torch

from topogen.manifolds.shapes import Sphere, Torus, get
from topogen.verification import Verdict, verify


class Model:
    def __init__(self, manifold):
        self.manifold = manifold

    def sample(self, n, generator):
        return self.manifold.sample(n, generator=generator)


def winding(n, step, small=0.4, slope=(1 + 5**0.5) / 2):
    """A torus that an irrational winding fills."""
    t = step * torch.arange(n, dtype=torch.float64)
    ring = 1 + small * (slope * t).cos()
    return torch.stack([ring * t.cos(), ring * t.sin(), small * (slope * t).sin()], 1)


def measured_again(n, copies, seed=0):
    generator = torch.Generator().manual_seed(seed)
    once = Torus().sample(n, generator).repeat(copies, 1)
    return (once + 1e-6 * torch.randn(once.shape, generator=generator, dtype=once.dtype))[torch.randperm(n * copies, generator=generator)]


CLOUDS = {"steps of .1": winding(5000, 0.1), "steps of .04": winding(5000, 0.04), "backwards": winding(5000, 0.07).flip(0), "copies": measured_again(1000, 5)}


@pytest.mark.parametrize("name", CLOUDS)
def test_a_right_model_is_confirmed(name):
    found = verify(Model(Torus()), against=CLOUDS[name], fill=True, n_samples=2000)
    assert found.verdict is Verdict.CONFIRMED, found.summary
    assert found.label == "heuristic"


@pytest.mark.parametrize(("name", "noise"), [("steps of .1", 0.005), ("copies", 1e-4)])
def test_noise_on_it_does_not_matter(name, noise):
    cloud = CLOUDS[name] + noise * torch.randn(CLOUDS[name].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert verify(Model(Torus()), against=cloud, fill=True, n_samples=2000).verdict is Verdict.CONFIRMED


@pytest.mark.parametrize(
    "model", [Torus(1.0, 0.55), Torus(1.0, 0.2), Sphere(), get("genus_two"), get("two_spheres"), get("linked_circles")], ids=lambda m: m.name
)
@pytest.mark.parametrize("name", ["steps of .1", pytest.param("steps of .04", marks=pytest.mark.slow), "copies"])
def test_a_wrong_model_is_not(name, model):
    found = verify(Model(model), against=CLOUDS[name], fill=True, n_samples=2000)
    assert found.verdict is not Verdict.CONFIRMED
    assert name == "copies" or found.verdict is Verdict.INCONCLUSIVE or found.label != "statistical", "a trajectory has no confidence of a draw"


def test_a_short_trajectory_confirms_nothing():
    """Two turns leave the torus open between their strands."""
    length = 2 * 2 * math.pi
    assert verify(Model(Torus()), against=winding(1000, length / 1000), fill=True, n_samples=2000).verdict is not Verdict.CONFIRMED
