"""Slow modes against the spectra of circle, spheres and flat torus."""

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.spectrum import slow_modes
from topogen.manifolds import shapes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("name", "values"), [("circle", [1, 1, 4, 4, 9, 9]), ("sphere", [2, 2, 2, 6, 6, 6, 6, 6]), ("flat_torus", [1, 1, 1, 1, 2, 2, 2, 2])])
def test_eigenvalues(name, values):
    modes = slow_modes(shapes.get(name).sample(5000, seeded()), 20)
    assert modes.values[: len(values)].tolist() == pytest.approx(values, rel=0.06)


def test_the_first_modes_of_the_sphere_are_its_coordinates():
    sphere = shapes.get("sphere")
    modes = slow_modes(sphere.sample(5000, seeded()), 20)
    x = sphere.sample(400, seeded(1))
    phi = modes.at(x)
    turn = torch.linalg.lstsq(x, phi[:, :3]).solution
    assert float((x @ turn - phi[:, :3]).std()) < 0.05


def test_modes_are_orthonormal_for_the_uniform_law():
    sphere = shapes.get("sphere")
    phi = slow_modes(sphere.sample(5000, seeded()), 8).at(sphere.sample(20_000, seeded(1)))
    gram = phi.T @ phi / len(phi)
    assert float((gram - torch.eye(8, dtype=torch.float64)).abs().max()) < 0.06


def test_too_few_points_are_refused():
    with pytest.raises(InvalidInputError, match="too few for 80 modes"):
        slow_modes(shapes.get("circle").sample(50, seeded()))
