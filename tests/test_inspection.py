"""Inspection end to end on clouds of known shape, its advice rule by rule, and real clouds where TOPOGEN_DATA names their folder."""

import json
import math
import os
from pathlib import Path

import pytest
import torch

import topogen.inspection as module
from topogen.errors import InvalidInputError
from topogen.inspection import Inspection, inspect
from topogen.topology.inference.homology import Homology

TAU = 2 * math.pi


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def circle(n, g, radius=1.0):
    t = TAU * torch.rand(n, generator=g, dtype=torch.float64)
    return radius * torch.stack([t.cos(), t.sin()], 1)


def sphere(n, g):
    x = torch.randn(n, 3, generator=g, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True)


def klein(n, g):
    u, v = TAU * torch.rand(2, n, generator=g, dtype=torch.float64)
    rho = 1 + 0.5 * v.cos()
    return torch.stack([rho * u.cos(), rho * u.sin(), 0.5 * v.sin() * (u / 2).cos(), 0.5 * v.sin() * (u / 2).sin()], 1)


def swiss_roll(n, g):
    t = 1.5 * math.pi * (1 + 8 * torch.rand(n, generator=g, dtype=torch.float64)).sqrt()
    return torch.stack([t * t.cos(), t * t.sin(), 20 * torch.rand(n, generator=g, dtype=torch.float64)], 1) / 10


def noise(x, sigma, g):
    return x + sigma * torch.randn(x.shape, generator=g, dtype=torch.float64)


def no_homology(points, *, dim, fields, **_):
    return Homology(dict.fromkeys(fields, (None,) * (dim + 1)), 1.0, "", "rule", "assumption", "heuristic", 1.0, len(points), 0, "none", False, "not asked")


@pytest.fixture
def without_homology(monkeypatch):
    monkeypatch.setattr(module, "homology", no_homology)


def says(found, words):
    return any(words in line for line in found.advice)


def test_sphere():
    g = generator()
    found = inspect(noise(sphere(1500, g), 0.01, g))
    assert (found.n, found.ambient_dim, found.hull_dim, found.dim, found.components) == (1500, 3, 3, 2, 1)
    assert found.betti == {2: (1, 0, 1), 3: (1, 0, 1)}
    assert found.orientable is True
    assert not found.has_boundary
    assert found.noise == pytest.approx(0.01, rel=0.1)
    assert found.reach == pytest.approx(1, rel=0.3)
    assert found.room == 1.0


def test_two_circles():
    g = generator()
    found = inspect(torch.cat([circle(400, g), circle(400, g) + 3]))
    assert (found.dim, found.components) == (1, 2)
    assert found.betti == {2: (2, 2), 3: (2, 2)}
    assert "pieces of 400, 400 points" in found.components_reason
    assert says(found, "2 components")


def test_klein_bottle_is_not_orientable():
    found = inspect(klein(5000, generator()))
    assert found.dim == 2
    assert found.betti == {2: (1, 2, 1), 3: (1, 1, 0)}
    assert found.orientable is False
    assert says(found, "not orientable")


def test_swiss_roll_has_a_boundary():
    found = inspect(swiss_roll(3000, generator()))
    assert found.dim == 2
    assert found.has_boundary
    assert found.orientable is None
    assert says(found, "boundary")


def test_text_and_json():
    found = inspect(circle(300, generator()))
    text = found.to_text()
    for word in ("points", "dimension", "Betti Z/2", "Betti Z/3", "reach", "noise", "TwoNN"):
        assert word in text
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["dim"] == 1
    assert document["betti"] == {"2": [1, 1], "3": [1, 1]}
    assert document["dimension"]["local_pca"] == 1


def test_json_has_no_infinities(without_homology):
    g = generator()
    flat = torch.cat([torch.rand(400, 2, generator=g, dtype=torch.float64), torch.zeros(400, 1, dtype=torch.float64)], 1)
    found = inspect(flat)
    assert found.dim == found.hull_dim == 2
    assert says(found, "fills its 2-dimensional affine hull")
    json.dumps(found.to_dict(), allow_nan=False)


def test_same_seed_same_bits_and_the_input_is_left_alone(without_homology):
    x = klein(800, generator())
    before = x.clone()
    state = torch.get_rng_state()
    assert inspect(x, seed=1).to_dict() == inspect(x, generator=generator(1)).to_dict()
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_change_lengths_only(without_homology, factor):
    g = generator()
    x = noise(sphere(800, g), 0.01, g)
    one, other = inspect(x), inspect(factor * x)
    for name in ("noise", "spacing", "reach", "diameter"):
        assert getattr(other, name) == pytest.approx(factor * getattr(one, name), rel=1e-6)
    for name in ("dim", "components", "has_boundary", "outliers", "room"):
        assert getattr(other, name) == getattr(one, name)
    assert other.evenness == pytest.approx(one.evenness, rel=1e-6)


def test_noise_in_a_hundred_dimensions(without_homology):
    g = generator()
    frame = torch.linalg.qr(torch.randn(100, 100, generator=g, dtype=torch.float64)).Q[:, :3]
    found = inspect(noise(sphere(2000, g) @ frame.T, 0.01, g))
    assert (found.dim, found.hull_dim) == (2, 3)
    assert found.noise == pytest.approx(0.01, rel=0.1)
    assert says(found, "97 of 100 linear directions carry only noise")


def test_duplicates_and_constant_columns_are_told(without_homology):
    x = circle(300, generator())
    x = torch.cat([x, torch.ones(300, 1, dtype=torch.float64)], 1)
    found = inspect(torch.cat([x, x[:20]]))
    assert (found.n, found.duplicates, found.constant_columns) == (300, 20, (2,))
    assert says(found, "20 exact duplicates")
    assert says(found, "columns 2 are constant")


def test_a_given_dim_overrules_and_the_data_may_disagree(without_homology):
    found = inspect(sphere(800, generator()), dim=1)
    assert (found.dim, found.dimension.dim) == (1, 2)
    assert says(found, "dim=1 was given, the data say 2")


def test_several_dimensions_are_told_and_give_no_false_boundary(without_homology):
    g = generator()
    ring = torch.cat([circle(1000, g), torch.zeros(1000, 1, dtype=torch.float64)], 1) + torch.tensor([3.0, 0, 0], dtype=torch.float64)
    found = inspect(noise(torch.cat([sphere(3000, g), ring]), 0.01, g))
    assert found.dimension.mixed == (1, 2)
    assert found.components == 2
    assert not found.has_boundary
    assert says(found, "several local dimensions")


def test_noise_thicker_than_the_reach_is_told_before_training(without_homology):
    g = generator()
    found = inspect(noise(circle(1000, g), 0.3, g), dim=1)
    assert found.room < 0.95 or found.noise > 0.17 * found.reach
    assert says(found, "no scale of denoising") or says(found, "of the reach")


def test_two_nn_disagreement_is_told(without_homology):
    g = generator()
    assert says(inspect(noise(sphere(5000, g), 0.03, g)), "TwoNN says")


def test_outliers_and_uneven_density_are_told(without_homology):
    g = generator()
    x = sphere(3000, g)
    far = torch.tensor([[0, 0, 5.0], [5, 0, 0], [0, 5, 0]], dtype=torch.float64)
    away = inspect(torch.cat([x, far]))
    assert (away.strays, away.n, away.outliers) == ((3000, 3001, 3002), 3000, 0)
    assert says(away, "stray: row 3000, 3001, 3002")
    found = inspect(torch.cat([x, 0.32 * far]))
    assert (found.strays, found.outliers) == ((), 3)
    assert says(found, "3 points lie 4 times farther")
    x = x[torch.rand(3000, generator=g, dtype=torch.float64) < 50 ** (-(x[:, 2] + 1) / 2)]
    assert says(inspect(x), "uneven density")
    assert not says(inspect(sphere(2000, g)), "uneven density")


@pytest.mark.parametrize("sampler", [circle, sphere, klein])
@pytest.mark.parametrize("n", [100, 1000])
def test_connected_clouds_are_one_component(without_homology, sampler, n):
    assert all(inspect(sampler(n, generator(seed))).components == 1 for seed in range(3))


def test_too_few_points_and_wrong_dims_are_refused():
    with pytest.raises(InvalidInputError, match="distinct points"):
        inspect(torch.tensor([[0.0, 0], [1, 0], [1, 0]]))
    with pytest.raises(InvalidInputError, match="at least 5"):
        inspect(torch.rand(4, 4), dim=3)
    with pytest.raises(InvalidInputError, match="expected 1 to 2"):
        inspect(torch.rand(20, 2), dim=3)
    with pytest.raises(InvalidInputError):
        inspect(torch.full((20, 2), math.nan))


def test_orientability_is_undecided_without_both_top_numbers():
    assert module._orientable({2: (1, 2, 1), 3: (1, 2, 1)}, 2) is True
    assert module._orientable({2: (1, 2, 1), 3: (1, 1, 0)}, 2) is False
    assert module._orientable({2: (1, 2, None), 3: (1, 1, 0)}, 2) is None
    assert module._orientable({2: (1, 1, 0), 3: (1, 1, 0)}, 2) is None
    assert module._orientable({2: (1, 1)}, 1) is None


def data(*parts):
    folder = os.environ.get("TOPOGEN_DATA")
    if not folder or not Path(folder, *parts).exists():
        pytest.skip(f"TOPOGEN_DATA names no folder with {'/'.join(parts)}")
    return Path(folder, *parts)


def test_cyclooctane(without_homology):
    from scipy.io import loadmat

    found = inspect(loadmat(data("cyclooctane", "pointsCycloOctane.mat"))["pointsCycloOctane"])
    assert (found.ambient_dim, found.hull_dim, found.dim, found.components) == (24, 18, 2, 1)
    assert found.noise < 1e-3
    assert not found.has_boundary


def test_floods_on_the_sphere(without_homology):
    lines = data("earth", "flood.csv").read_text().splitlines()[2:]
    latitude, longitude = torch.tensor([[float(entry) for entry in line.split(",")[:2]] for line in lines], dtype=torch.float64).deg2rad().T
    x = torch.stack([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()], 1)
    found = inspect(x)
    assert found.dim == 2
    assert found.duplicates == len(x) - found.n > 0
    assert found.reach == pytest.approx(1, rel=0.05)
    assert says(found, "uneven density")


def test_bunny(without_homology):
    import trimesh

    mesh = trimesh.load(data("meshes", "bunny_simp.obj"), process=False)
    found = inspect(trimesh.sample.sample_surface(mesh, 8000, seed=0)[0])
    assert (found.dim, found.components, found.has_boundary) == (2, 1, False)
    assert found.noise < 1e-3 * found.diameter


def test_inspection_is_frozen():
    found = inspect(circle(100, generator()))
    assert isinstance(found, Inspection)
    with pytest.raises(AttributeError):
        found.dim = 3


@pytest.fixture
def few_rows(monkeypatch):
    for name in ("topogen.inspection", "topogen.geometry.clouds.scales", "topogen.geometry.clouds.dimension"):
        monkeypatch.setattr(f"{name}.LOCAL_ROWS", 600)


def test_of_many_points_all_are_asked_for_duplicates_pieces_and_outliers(few_rows, without_homology):
    g = generator(4)
    x = torch.cat([sphere(4000, g), 0.3 * sphere(1500, g) + 3, torch.tensor([[9.0, 0, 0]], dtype=torch.float64)])
    found = inspect(torch.cat([x, x[:3]]))
    assert (found.n, found.duplicates, found.outliers, found.dim, found.has_boundary) == (5500, 3, 0, 2, False)
    assert found.strays == (5500,)
    assert found.components == 2 and "pieces of 4000, 1500" in found.components_reason
    assert found.to_dict() == inspect(torch.cat([x, x[:3]])).to_dict()


def test_of_many_points_boundary_and_scales_are_those_of_some(few_rows, without_homology):
    g = generator(5)
    half = sphere(16_000, g)
    half = half[half[:, 2] > 0]
    found = inspect(noise(half, 0.01, g))
    assert found.has_boundary and found.noise == pytest.approx(0.01, rel=0.2) and found.boundary_fraction > 0.01


def test_strata_of_many_points_hold_every_point_near_them(few_rows, monkeypatch, without_homology):
    g = generator(6)
    x = torch.cat([sphere(3000, g), sphere(3000, g) + torch.tensor([1.0, 0, 0])])
    monkeypatch.setattr(module, "LOCAL_ROWS", 3000)
    found = inspect(x)
    assert len(found.strata) == 1 and found.strata[0].size == len(found.strata[0].points) > 300
    off = (found.strata[0].points - torch.tensor([0.5, 0, 0])) @ torch.tensor([1.0, 0, 0], dtype=torch.float64)
    assert off.abs().max() < 2 * found.strata[0].width
