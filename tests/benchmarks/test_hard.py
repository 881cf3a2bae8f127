"""What data are like: uneven density, outliers, missing caps, noise in a hundred dimensions, pieces of different dimension."""

import math
import os
import pathlib

import pytest
import torch
from rows import Row, markdown, row
from torch import Tensor

from topogen import fit, inspect, points
from topogen.manifolds import shapes


def torus(n: int, seed: int = 0) -> Tensor:
    return shapes.Torus().sample(n, generator=torch.Generator().manual_seed(seed))


def uneven() -> Tensor:
    """Density falling fifty-fold from one side of the torus to the other."""
    cloud = torus(120_000)
    weight = 50.0 ** (cloud[:, 0] / (2 * 1.4) + 0.5) / 50
    return cloud[torch.rand(len(cloud), generator=torch.Generator().manual_seed(1), dtype=torch.float64) < weight / 6][:5000]


def outliers() -> Tensor:
    cloud = torus(5000)
    far = 3 * (torch.rand(50, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5)
    return torch.cat([cloud[:4950], far])


def capped() -> Tensor:
    """A tenth of the tube's circle around one place of the torus is missing."""
    cloud = torus(6000)
    hole = torch.tensor([1.4, 0.0, 0.0], dtype=torch.float64)
    return cloud[(cloud - hole).norm(dim=1) > 0.35][:5000]


def on_torus(draw) -> Row:
    shape, cloud = shapes.Torus(), draw()
    model = fit(cloud, dim=2, seed=0, quiet=True)
    clean = cloud[shape.distance(cloud) < 1e-6]
    found, everywhere = model.project(clean), model.project(torus(5000, 9))
    back = (everywhere.points - torus(5000, 9)).norm(dim=-1)
    return {
        "distance_where_data_pct": 100 * float((found.points - clean).norm(dim=-1).mean()) / shape.diameter, "unprojected": int((~found.converged).sum()),
        "distance_everywhere_pct": 100 * float(back.mean()) / shape.diameter, "largest_gap_pct": 100 * float(back.max()) / shape.diameter,
        "outside_gate_pct": 100 * float((~everywhere.converged).double().mean()), "gated": model.manifold.gate is not None, "notes": "; ".join(model.notes),
    }  # fmt: skip


@pytest.mark.parametrize("draw", [uneven, outliers, capped], ids=lambda draw: draw.__name__)
def test_torus_with_defects(draw):
    found = row("defects", draw.__name__, lambda: on_torus(draw))
    print("\n" + markdown([found], tuple(found)))


DATA = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere"))


def along(cloud: Tensor) -> Tensor:
    """Density falling fifty-fold along the first axis, 20,000 points."""
    place = (cloud[:, 0] - cloud[:, 0].amin()) / (cloud[:, 0].amax() - cloud[:, 0].amin())
    weight = 50.0 ** (place - 1)
    chosen = torch.multinomial(weight, 20_000, generator=torch.Generator().manual_seed(1))
    return cloud[chosen]


def among_outliers(cloud: Tensor) -> Tensor:
    low, high = cloud.amin(0), cloud.amax(0)
    far = low + (high - low) * torch.rand(200, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return torch.cat([cloud[:19_800], far])


def without_a_cap(cloud: Tensor) -> Tensor:
    """Without what lies within a tenth of the diagonal of the surface's first point."""
    diagonal = (cloud.amax(0) - cloud.amin(0)).norm()
    return cloud[(cloud - cloud[0]).norm(dim=1) > 0.1 * diagonal][:20_000]


def on_bunny(spoil) -> Row:
    from scipy.spatial import cKDTree

    dense = points.read(DATA / "meshes" / "bunny_simp.obj", samples=400_000)
    tree, diagonal = cKDTree(dense.numpy()), float((dense.amax(0) - dense.amin(0)).norm())
    data = spoil(dense[:300_000])
    on = data[torch.from_numpy(tree.query(data.numpy())[0]) < 1e-9 * diagonal]
    model = fit(data, dim=2, seed=0, quiet=True)
    found, everywhere = model.project(on), model.project(dense[-20_000:])
    back = (everywhere.points - dense[-20_000:]).norm(dim=-1)[everywhere.converged]
    samples = model.sample(5000, generator=torch.Generator().manual_seed(0))
    return {
        "distance_where_data_pct": 100 * float((found.points - on).norm(dim=-1)[found.converged].mean()) / diagonal,
        "unprojected": int((~found.converged).sum()),
        "distance_everywhere_pct": 100 * float(back.mean()) / diagonal, "largest_gap_pct": 100 * float(back.max()) / diagonal,
        "samples_to_surface_pct": 100 * float(tree.query(samples.numpy())[0].mean()) / diagonal,
        "outside_gate_pct": 100 * float((~everywhere.converged).double().mean()), "gated": model.manifold.gate is not None, "notes": "; ".join(model.notes),
    }  # fmt: skip


@pytest.mark.skipif(not DATA.is_dir(), reason="TOPOGEN_DATA names no folder of real data")
@pytest.mark.parametrize("spoil", [along, among_outliers, without_a_cap], ids=lambda spoil: spoil.__name__)
def test_bunny_with_defects(spoil):
    found = row("defects", f"bunny-{spoil.__name__}", lambda: on_bunny(spoil))
    print("\n" + markdown([found], tuple(found)))


def hundred_dimensions() -> Row:
    frame = torch.linalg.qr(torch.randn(100, 100, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q[:, :3]
    noise = 0.02
    generator = torch.Generator().manual_seed(4)
    data = torus(5000) @ frame.T + noise * torch.randn(5000, 100, generator=generator, dtype=torch.float64)
    found = inspect(data, seed=0)
    model = fit(data, seed=0, inspection=found, quiet=True)
    samples = model.sample(3000, generator=generator)
    inside = samples @ frame
    distance = (shapes.Torus().distance(inside) ** 2 + (samples - inside @ frame.T).norm(dim=1) ** 2).sqrt()
    length = noise * math.sqrt(98)
    return {
        "dim": found.dim,
        "hull": found.hull_dim,
        "distance": float(distance.mean()),
        "normal_length_of_noise": length,
        "share": float(distance.mean()) / length,
    }


def test_torus_in_a_hundred_dimensions():
    found = row("hundred", "torus", hundred_dimensions)
    print("\n" + markdown([found], tuple(found)))
    assert found["dim"] == 2


def pieces() -> Row:
    generator = torch.Generator().manual_seed(5)
    sphere = shapes.Sphere().sample(3500, generator=generator)
    angle = 2 * math.pi * torch.rand(1500, generator=generator, dtype=torch.float64)
    circle = torch.stack([3 + angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
    cloud = torch.cat([sphere, circle])
    found = inspect(cloud, seed=0)
    model = fit(cloud, dim=2, seed=0, inspection=found, quiet=True)
    at_sphere, at_circle = model.manifold.local_dim(sphere), model.manifold.local_dim(circle)
    return {
        "mixed": str(found.dimension.mixed), "components": found.components, "sphere_right_pct": 100 * float((at_sphere == 2).double().mean()),
        "circle_right_pct": 100 * float((at_circle == 1).double().mean()),
    }  # fmt: skip


def test_sphere_with_a_circle():
    found = row("pieces", "sphere_and_circle", pieces)
    print("\n" + markdown([found], tuple(found)))
