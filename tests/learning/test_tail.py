"""The score of late times against a law with one mode: p_u = (1 + a e^-u z) / 4 pi on the sphere."""

import torch

from topogen.distributions.pieces import ground_under
from topogen.learning.tail import Tail
from topogen.manifolds import shapes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_scores_of_a_law_with_one_mode():
    sphere = shapes.get("sphere")
    even = sphere.sample(60_000, seeded(1))
    data = even[torch.rand(len(even), generator=seeded(2), dtype=torch.float64) < (1 + 0.9 * even[:, 2]) / 2]
    tail = Tail(ground_under(sphere, even[:100], generator=seeded()), data)
    x, times = sphere.sample(500, seeded(3)), torch.linspace(0.3, 2.0, 500, dtype=torch.float64)
    left = 0.9 * torch.exp(-times)
    expected = (left / (1 + left * x[:, 2])).unsqueeze(1) * sphere.proju(x, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(500, 3))
    missed = (sphere.proju(x, tail.score(x, times)) - expected).norm(dim=1)
    assert float(missed.mean() / expected.norm(dim=1).mean()) < 0.12
    assert 0.05 < tail.begins < 0.5 and abs(tail.slowest / 2 - 1) < 0.06


def test_every_component_has_its_own_modes():
    shape = shapes.get("two_spheres")
    pool = shape.sample(3000, seeded(1))
    ground = ground_under(shape, pool, generator=seeded())
    tail = Tail(ground, pool)
    assert len(tail.modes) == 2
    assert float(shape.proju(pool[:300], tail.score(pool[:300], torch.full((300,), 1.0, dtype=torch.float64))).norm(dim=1).mean()) < 0.1
