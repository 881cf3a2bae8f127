"""Stars: how far rays run before they meet, and that their coordinates are injective."""

import pytest
import torch

from topogen.geometry.clouds.neighbours import nearest
from topogen.manifolds.atlas.star_discs import stars
from topogen.manifolds.shapes import Circle, Sphere, Torus


def star_of(shape, seed=0):
    centre = shape.sample(1, generator=torch.Generator().manual_seed(seed))
    return stars(shape, centre, torch.tensor([4.0], dtype=torch.float64))[0]


def test_an_arc_runs_almost_round_the_circle_and_no_farther():
    found = star_of(Circle())
    assert 0.75 * torch.pi < found.radius < 0.95 * torch.pi
    angle = torch.acos((found.x @ found.centre).clamp(-1, 1))
    torch.testing.assert_close(found.z[:, 0].abs(), angle, rtol=0, atol=0.02)


def test_a_disc_of_the_sphere_ends_before_its_rays_are_focused():
    found = star_of(Sphere(2))
    assert 0.6 * torch.pi < found.radius < 0.95 * torch.pi


@pytest.mark.parametrize("seed", range(3))
def test_a_star_of_a_torus_is_injective_and_wider_where_there_is_room(seed):
    shape = Torus()
    found = star_of(shape, seed)
    inside = found.z.norm(dim=1) <= found.radius
    x, z = found.x[inside], found.z[inside]
    distance, index = nearest(x, 8)
    apart = (z.unsqueeze(1) - z[index]).norm(dim=-1)
    assert bool((apart <= 6 * distance + 3 * found.mesh).all())
    along = (x - found.centre).norm(dim=1)
    assert float(along.max()) > 1.2 * 2 * shape.r, "the disc is wider than the tube is thick"
    torch.testing.assert_close(z.norm(dim=1).max(), torch.tensor(found.radius, dtype=torch.float64), rtol=0.05, atol=0)


def test_same_centre_same_bits_alone_and_among_others():
    shape = Sphere(2)
    centres = shape.sample(3, generator=torch.Generator().manual_seed(4))
    lengths = torch.full((3,), 4.0, dtype=torch.float64)
    together, alone = stars(shape, centres, lengths)[1], stars(shape, centres[1:2], lengths[1:2])[0]
    torch.testing.assert_close(together.x, alone.x, rtol=0, atol=1e-12)
    torch.testing.assert_close(together.z, alone.z, rtol=0, atol=1e-12)
