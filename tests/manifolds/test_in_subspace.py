"""Manifolds in an affine subspace: the laws, exact distances with heights, samples, files, and what fit makes of a cloud in many coordinates."""

import math

import pytest
import torch

import topogen
from topogen.distributions import Uniform
from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold, InSubspace
from topogen.manifolds.shapes import Circle, Torus
from topogen.testing import ManifoldLaws
from topogen.training.trainer import Settings


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def placed(core, ambient, seed=0):
    basis = torch.linalg.qr(torch.randn(ambient, core.ambient_dim, generator=seeded(seed), dtype=torch.float64)).Q
    return InSubspace(core, torch.randn(ambient, generator=seeded(seed + 1), dtype=torch.float64), basis)


TORUS = placed(Torus(), 7)


class TestTorusInSevenCoordinates(ManifoldLaws):
    def manifold(self):
        return TORUS

    def points(self, n, generator):
        return TORUS.embedded(Torus().sample(n, generator=generator))


def test_heights_keep_the_distances_to_points_of_the_subspace():
    on, off = TORUS.embedded(torch.randn(20, 3, generator=seeded(), dtype=torch.float64)), torch.randn(30, 7, generator=seeded(1), dtype=torch.float64)
    assert torch.allclose(torch.cdist(TORUS.with_height(on), TORUS.with_height(off)), torch.cdist(on, off), atol=1e-12)
    assert torch.allclose(TORUS.with_height(on)[:, -1], torch.zeros(20, dtype=torch.float64), atol=1e-12)


def test_uniform_samples_and_volume_are_those_of_the_core():
    uniform = Uniform(TORUS)
    samples = uniform.sample((500,), generator=seeded())
    assert Torus().distance(TORUS.coordinates(samples)).max() < 1e-9 and TORUS.with_height(samples)[:, -1].max() < 1e-12
    assert uniform.volume.value == pytest.approx(Torus().volume)
    off = samples + 0.1 * TORUS.normal_basis(samples)[:, :, -1]
    assert torch.allclose(uniform.log_prob(off), torch.tensor(-math.log(Torus().volume), dtype=torch.float64))


def test_an_implicit_core_needs_no_constraint_outside_of_it():
    ellipse = ImplicitManifold(lambda x: (x**2 * torch.tensor([1.0, 2.0])).sum(-1, keepdim=True) - 1, dim=1, ambient_dim=2)
    manifold = placed(ellipse, 40)
    samples = Uniform(manifold, seed=0).sample((200,), generator=seeded())
    assert ellipse.kept_residual(manifold.coordinates(samples)).max() < 1e-8
    assert manifold.with_fast_projection().core.closest is False and manifold.closed and manifold.project(samples).converged.all()


@pytest.mark.parametrize(("centre", "basis", "words"), [(torch.zeros(5), torch.eye(5, 3), "expected"), (torch.zeros(5), 2 * torch.eye(5, 2), "orthonormal")])
def test_what_is_no_subspace_for_it_is_refused(centre, basis, words):
    with pytest.raises(InvalidInputError, match=words):
        InSubspace(Circle(), centre, basis)


@pytest.fixture(scope="module")
def cloud():
    circle = placed(Circle(), 60, seed=4)
    return circle.embedded(Circle().sample(600, generator=seeded(5))) + 0.01 * torch.randn(600, 60, generator=seeded(6), dtype=torch.float64)


@pytest.fixture(scope="module")
def model(cloud):
    return topogen.fit(cloud, seed=0, settings=Settings(steps=300), quiet=True)


def test_a_cloud_in_many_coordinates_is_learned_in_its_hull(cloud, model):
    assert isinstance(model.manifold, InSubspace) and (model.manifold.core.ambient_dim, model.manifold.ambient_dim) == (2, 60)
    assert any("2 of 60 linear directions" in note for note in model.notes)
    assert model.anchors.shape[1] == 60 and model.manifold.with_height(model.anchors)[:, -1].max() < 1e-12
    assert float((model.project(cloud).points - cloud).norm(dim=1).median()) == pytest.approx(0.01 * math.sqrt(59), rel=0.1)


def test_it_is_saved_and_loaded_to_the_same_bits(cloud, model, tmp_path):
    model.save(tmp_path / "model")
    again = topogen.load(tmp_path / "model")
    assert torch.equal(again.sample(50, generator=seeded()), model.sample(50, generator=seeded()))
    assert torch.equal(again.project(cloud).points, model.project(cloud).points)


def test_it_is_verified_in_its_coordinates_with_distances_in_all(cloud, model):
    samples = model.sample(3000, generator=seeded())
    found = topogen.verify(model, against=cloud, n_samples=3000, samples=samples)
    assert found.verdict.value == "CONFIRMED" and found.subject.endswith("in R^60")
    whole, back = (next(claim.evidence for claim in found.claims if claim.text.startswith(words)) for words in ("distance of against", "samples to"))
    distance = (cloud - model.project(cloud).points).norm(dim=1)
    assert whole["max"] == pytest.approx(float(distance.max()), rel=1e-9) and whole["mean"] == pytest.approx(float(distance.mean()), rel=1e-3)
    assert back["max_from_data"] == pytest.approx(float(torch.cdist(cloud, samples).amin(1).max()), rel=1e-9)
    with pytest.raises(InvalidInputError, match=r"samples: expected points \(k, 60\)"):
        topogen.verify(model, against=cloud, samples=samples[:, :2])


def test_same_seed_same_bits(cloud, model):
    again = topogen.fit(cloud, seed=0, settings=Settings(steps=300), quiet=True)
    assert torch.equal(again.anchors, model.anchors)
