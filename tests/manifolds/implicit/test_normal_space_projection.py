"""The oblique projection: on M, along the normal space, batch equals singles, failures masked."""

from __future__ import annotations

import pytest
import torch

from topogen.manifolds import ImplicitManifold, Manifold
from topogen.manifolds.implicit.normal_space_projection import project_along_normals
from topogen.manifolds.implicit.valid_zeros import full_residual_bound, is_valid_zero
from topogen.manifolds.shapes import KleinBottle, Torus

SPHERE = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 2, 3)


@pytest.mark.parametrize("manifold", [Torus(1.0, 0.5), KleinBottle()], ids=str)
def test_lands_on_m_along_the_normal_space(manifold: Manifold) -> None:
    generator = torch.Generator().manual_seed(0)
    x = manifold.sample(40, generator)
    tangent, normal = manifold.tangent_basis(x), manifold.normal_basis(x)
    v = 0.1 * (tangent @ torch.randn(40, 2, 1, generator=generator, dtype=torch.float64)).squeeze(-1)
    section = manifold.section
    y, found = project_along_normals(section, x, v, normal, 1e-10)
    assert int(found.sum()) >= 35
    assert float((manifold.project(y).points - y).norm(dim=1).max()) < 1e-9
    along = (tangent.mT @ (y - x - v).unsqueeze(-1)).squeeze(-1)
    assert float(along[found].norm(dim=1).max()) < 1e-12
    alone = torch.cat([project_along_normals(section, x[i : i + 1], v[i : i + 1], normal[i : i + 1], 1e-10)[0] for i in range(40)])
    assert torch.allclose(alone, y, atol=1e-9)


def test_no_solution_is_masked_and_returns_the_start() -> None:
    x = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    v = torch.tensor([[1.5, 0.0, 0.0], [0.5, 0.0, 0.0]], dtype=torch.float64)
    y, found = project_along_normals(SPHERE.section, x, v, x.unsqueeze(-1), 1e-12)
    assert found.tolist() == [False, True]
    assert torch.equal(y[0], x[0])
    assert torch.allclose(y[1], torch.tensor([0.5, 0.0, 0.75**0.5], dtype=torch.float64))


def test_constraints_that_are_not_finite_are_failures_not_crashes() -> None:
    broken = ImplicitManifold(lambda x: torch.stack([x[:, 0] - 1, (x[:, 1] - 0.5).sqrt() - 1, 0 * x[:, 2]], 1), 1, 3)
    x = torch.tensor([[1.0, 1.5, 0.0]], dtype=torch.float64)
    v = torch.tensor([[0.0, -2.0, 0.0]], dtype=torch.float64)
    _, found = project_along_normals(broken.section, x, v, torch.eye(3, dtype=torch.float64)[None, :, :2], 1e-10)
    assert not bool(found.any())


def test_zeros_of_the_kept_section_inside_the_tube_are_not_on_the_sheet() -> None:
    def field(x: torch.Tensor) -> torch.Tensor:
        length = x.norm(dim=1, keepdim=True)
        return x / length * (length - 1)

    sphere = ImplicitManifold(field, 2, 3)
    centre = torch.tensor([[0.0, 0.1, 0.0]], dtype=torch.float64)
    surface = torch.nn.functional.normalize(torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1)
    bound = full_residual_bound(sphere, surface)
    assert float(sphere.kept_residual(centre)) < 1e-9
    assert not bool(is_valid_zero(sphere, centre, bound).any())
    assert bool(is_valid_zero(sphere, surface, bound).all())
    assert full_residual_bound(SPHERE, surface) == torch.inf
