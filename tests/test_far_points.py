"""Densities of points that are far from M, and clouds of a size that squares do not hold."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import topogen
from topogen.errors import InvalidInputError
from topogen.manifolds.shapes import Sphere


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def model(radius=1.0):
    shape = Sphere(2, radius)
    return topogen.fit(shape.sample(1500, generator=seeded(0)), manifold=shape, density="uniform", seed=0)


@pytest.mark.parametrize("radius", [1.0, 0.01])
def test_no_density_beyond_the_reach(radius):
    fitted = model(radius)
    far = radius * (20 * torch.rand(500, 3, generator=seeded(1), dtype=torch.float64) - 10)
    inside = (far.norm(dim=1) / radius - 1).abs() < 1
    assert bool((torch.isfinite(fitted.log_prob(far)) == inside).all())
    assert torch.equal(fitted.beyond_reach(far), ~inside)
    noisy = fitted.anchors * (1 + 0.1 * torch.randn(len(fitted.anchors), 1, generator=seeded(2), dtype=torch.float64))
    assert bool(torch.isfinite(fitted.log_prob(noisy)).all())


def test_score_tells_how_far_the_points_are(tmp_path):
    fitted = model()
    fitted.save(tmp_path / "model")
    far = 20 * torch.rand(500, 3, generator=seeded(1), dtype=torch.float64) - 10
    np.save(tmp_path / "cloud.npy", torch.cat([fitted.anchors[:300], far]).numpy())
    command = [sys.executable, "-m", "topogen", "score", str(tmp_path / "model"), str(tmp_path / "cloud.npy")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answer = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    beyond = int(((far.norm(dim=1) - 1).abs() >= 1).sum())
    assert answer["beyond_reach"] == beyond and f"{beyond} are beyond its reach" in text
    assert answer["scored"] == 800 - beyond
    assert answer["mean_log_density"] == pytest.approx(-np.log(4 * np.pi))
    assert answer["distance"]["largest"] == pytest.approx(float((far.norm(dim=1) - 1).abs().max()))


@pytest.mark.parametrize("factor", [1e-170, 1e-160, 1e160])
def test_a_scale_whose_squares_are_no_numbers_is_an_error(factor):
    t = torch.linspace(0, 2 * torch.pi, 401, dtype=torch.float64)[:400]
    circle = factor * torch.stack([t.cos(), t.sin()], 1)
    for call in (topogen.inspect, topogen.fit, lambda x: topogen.verify(x, expect="circle")):
        with pytest.raises(InvalidInputError, match="unit of length"):
            call(circle)


@pytest.mark.parametrize("factor", [1e-130, 1e140])
def test_what_is_at_the_edge_of_it_is_a_circle(factor):
    t = torch.linspace(0, 2 * torch.pi, 401, dtype=torch.float64)[:400]
    found = topogen.inspect(factor * torch.stack([t.cos(), t.sin()], 1))
    assert found.dim == 1 and found.betti[2] == (1, 1)
