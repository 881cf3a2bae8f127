"""Pairs and curves for flow matching."""

import math

import torch

from topogen.distributions.fields.components import UniformComponents, data_weights, sampled_manifold
from topogen.distributions.flow.couplings import NODES, Coupler, between
from topogen.manifolds import ImplicitManifold, shapes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def router_on(manifold, data, reach) -> Coupler:
    ground = sampled_manifold(manifold, data, generator=seeded())
    return Coupler(UniformComponents(ground, data_weights(ground, data)), data, reach)


def implicit_torus() -> tuple[ImplicitManifold, torch.Tensor]:
    torus = shapes.get("torus")
    m = ImplicitManifold(lambda x: ((x[:, :2].norm(dim=1) - torus.R) ** 2 + x[:, 2] ** 2 - torus.r**2).unsqueeze(1), 2, 3)
    return m, torus.sample(500, seeded(1))


def test_routes_stay_on_the_manifold_and_end_at_the_data():
    manifold, data = implicit_torus()
    data = data[data[:, 0] > 0].repeat(4, 1)[:400]
    found = router_on(manifold, data, 0.45).couple(torch.arange(400), seeded(2))
    assert found.lost == 0 and 0 < found.illegal < 0.5
    assert torch.equal(found.nodes[:, -1].double(), found.nodes[:, -1]) and found.nodes.shape == (400, NODES, 3)
    assert float((found.nodes[:, -1] - data[found.ends]).norm(dim=1).max()) < 1e-3
    assert float(manifold.kept_residual(found.nodes.flatten(0, 1)).max()) < 1e-3
    t = torch.rand(400, generator=seeded(3), dtype=torch.float64)
    x, velocity = between(found.nodes, t)
    assert float(manifold.kept_residual(x).quantile(0.99)) < 5e-3
    normal = velocity - manifold.proju(manifold.project(x).points, velocity)
    assert float((normal.norm(dim=1) / velocity.norm(dim=1)).median()) < 0.02


def test_every_row_is_reached_and_starts_are_uniform():
    """Nothing is left out, which would change the law: the starts are the base's own draws, in another order."""
    manifold, data = implicit_torus()
    router = router_on(manifold, data, 0.45)
    found = router.couple(torch.arange(500), seeded(2))
    drawn = router.base.ground.uniform(torch.zeros(500, dtype=torch.int64), seeded(2))
    assert torch.equal(found.nodes[:, 0].sort(0).values.round(decimals=3), router.fast.project(drawn).points.sort(0).values.round(decimals=3))
    assert torch.equal(found.ends.sort().values, torch.arange(500))


def test_pairs_are_nearer_than_by_chance():
    sphere = shapes.get("sphere")
    data = sphere.sample(400, seeded(1))
    found = router_on(sphere, data, 1.0).couple(torch.arange(400), seeded(2))
    apart = (found.nodes[:, 0] * found.nodes[:, -1]).sum(1).clamp(-1, 1).acos()
    assert float(apart.mean()) < 0.3 < math.pi / 2
    steps = found.nodes.diff(dim=1).norm(dim=-1)
    assert float((steps.amax(1) - steps.amin(1)).max()) < 1e-6


def test_pairs_are_of_one_component():
    spheres = shapes.get("two_spheres")
    data = spheres.sample(300, seeded(1))
    router = router_on(spheres, data, 1.0)
    found = router.couple(torch.arange(300), seeded(2))
    component = router.base.ground.component
    assert torch.equal(component(found.nodes[:, 0]), component(data[found.ends]))


def test_cubics_are_interpolated_exactly():
    nodes = torch.linspace(0, 1, NODES, dtype=torch.float64)[None, :, None] ** 3
    t = torch.rand(50, generator=seeded(), dtype=torch.float64)
    x, velocity = between(nodes.expand(50, -1, -1), t)
    assert torch.allclose(x[:, 0], t**3, atol=1e-12) and torch.allclose(velocity[:, 0], 3 * t**2, atol=1e-10)
