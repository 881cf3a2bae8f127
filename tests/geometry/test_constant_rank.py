"""Numerics of sets cut out with constant rank, against closed forms and finite differences."""

import math
from dataclasses import replace

import pytest
import torch
from constraints import drifting_torus, tall_torus, torus_distance
from torch import Tensor

from topogen.geometry import constant_rank


def circle_in_space(x: Tensor) -> Tensor:
    return torch.stack([(x[..., :2] ** 2).sum(-1) - 1.0, 3 * x[..., 2]], -1)


CASES = [(torus_distance, 1), (circle_in_space, 2), (drifting_torus, 1), (tall_torus, 1)]


@pytest.fixture
def cloud() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(2, 200, generator=generator, dtype=torch.float64)
    ring = 1 + 0.4 * angle[1].cos()
    on = torch.stack([ring * angle[0].cos(), ring * angle[0].sin(), 0.4 * angle[1].sin()], -1)
    return on + 0.05 * torch.randn(200, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("field", "rank"), CASES)
def test_jacobian_is_that_of_autograd(field, rank, cloud):
    value, rows = constant_rank.value_and_jacobian(field, cloud)
    assert torch.equal(value, field(cloud))
    for i in range(5):
        expected = torch.autograd.functional.jacobian(lambda y: field(y.unsqueeze(0)).squeeze(0), cloud[i])
        assert torch.allclose(rows[i], expected, atol=1e-12)


@pytest.mark.parametrize(("field", "rank"), CASES)
def test_newton_reaches_the_zero_set_of_the_section(field, rank, cloud):
    found = constant_rank.newton(field, cloud, rank, 1e-10, max_step=0.5)
    assert found.converged.double().mean() > 0.99
    at = constant_rank.frame(field, found.points[found.converged], rank)
    assert at.distance.max() <= 1e-10
    # What is reported was left before the last step was taken.
    assert (at.distance <= found.residual[found.converged] + 1e-14).all()


@pytest.mark.parametrize(("field", "rank"), CASES)
def test_newton_of_a_batch_is_that_of_its_rows(field, rank, cloud):
    together = constant_rank.newton(field, cloud[:20], rank, 1e-10, max_step=0.5)
    alone = torch.cat([constant_rank.newton(field, row, rank, 1e-10, max_step=0.5).points for row in cloud[:20].split(1)])
    assert torch.allclose(together.points, alone, atol=1e-12)


@pytest.mark.parametrize(("field", "rank"), CASES)
def test_exact_derivative_is_that_of_the_section(field, rank, cloud):
    z = constant_rank.newton(field, cloud, rank, 1e-12, max_step=0.5).points[:50]
    at = constant_rank.frame(field, z, rank)
    rows = at.left[..., :rank] @ constant_rank.exact_derivative(field, z, at)
    step = 1e-5
    for j in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[j] = step
        difference = (section(field, z + shift, rank) - section(field, z - shift, rank)) / (2 * step)
        assert torch.allclose(rows[..., j], difference, atol=1e-7)


def test_the_truncated_jacobian_is_caught_as_a_wrong_derivative(cloud):
    """The planted defect: without the change of the projector the derivative of the overcomplete section is wrong by far more than the tolerance above."""
    z = constant_rank.newton(drifting_torus, cloud, 1, 1e-12, max_step=0.5).points[:50]
    at = constant_rank.frame(drifting_torus, z, 1)
    truncated = at.values[:, :1, None] * at.right[..., :1].mT
    assert (constant_rank.exact_derivative(drifting_torus, z, at) - truncated).norm(dim=-1).max() > 1e-3


def test_the_part_of_f_outside_of_the_range_of_its_jacobian_is_felt(cloud):
    """The planted defect: dropped directions taken from the thin singular vectors alone miss the part of F that no column of J reaches."""
    z = constant_rank.newton(tall_torus, cloud, 1, 1e-12, max_step=0.5).points[:50]
    at = constant_rank.frame(tall_torus, z, 1)
    thin = replace(at, value=(at.left @ at.left.mT @ at.value.unsqueeze(-1)).squeeze(-1))
    assert (constant_rank.exact_derivative(tall_torus, z, at) - constant_rank.exact_derivative(tall_torus, z, thin)).norm(dim=-1).max() > 1e-3


@pytest.mark.parametrize(("field", "rank"), CASES)
def test_frames_by_products_are_those_by_singular_values(field, rank, cloud):
    """Kept subspaces, sections and changes of the projector agree; the single singular vectors need not."""
    value, rows = constant_rank.value_and_jacobian(field, cloud)
    frames = constant_rank.frame(field, cloud, rank), constant_rank.gram_frame(value, rows, rank)
    second = constant_rank.jet(field, cloud).second_derivative
    whole = [at.left[..., :rank] @ torch.cat([at.kept.unsqueeze(-1), at.kept_rows, constant_rank.projector_change(at, second)], -1) for at in frames]
    assert torch.allclose(*whole, atol=1e-10)


def test_frames_by_products_of_rows_that_are_not_finite_are_not_finite(cloud):
    value, rows = constant_rank.value_and_jacobian(circle_in_space, cloud)
    at = constant_rank.gram_frame(value, rows.index_fill(0, torch.tensor(3), torch.nan), 2)
    assert torch.equal(torch.isfinite(at.residual), torch.arange(len(cloud)) != 3)


def test_second_derivatives_are_those_of_autograd(cloud):
    direction, output = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(5, 2, 5, dtype=torch.float64)
    found = constant_rank.jet(tall_torus, cloud[:5]).second_derivative(direction, output)
    for i in range(5):
        for p in range(2):

            def weighed(y: Tensor, output: Tensor = output[i, p]) -> Tensor:
                return tall_torus(y.unsqueeze(0))[0] @ output

            expected = torch.autograd.functional.hessian(weighed, cloud[i]) @ direction[i, p]
            assert torch.allclose(found[i, p], expected, atol=1e-10)


def section(field, x: Tensor, rank: int) -> Tensor:
    at = constant_rank.frame(field, x, rank)
    return (at.left[..., :rank] @ at.kept.unsqueeze(-1)).squeeze(-1)


def test_rows_that_are_not_finite_do_not_spoil_the_others(cloud):
    spoiled = cloud.clone()
    spoiled[3] = torch.nan

    def field(x: Tensor) -> Tensor:
        return circle_in_space(x)

    found = constant_rank.newton(field, spoiled, 2, 1e-10)
    good = torch.arange(len(cloud)) != 3
    assert not found.converged[3]
    assert torch.equal(found.points[good], constant_rank.newton(field, cloud[good], 2, 1e-10).points)


def test_shape_operator_of_the_sphere():
    x = torch.nn.functional.normalize(torch.randn(10, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64), dim=1)

    def field(y: Tensor) -> Tensor:
        return ((y**2).sum(-1, keepdim=True) - 1) / 2

    basis = torch.linalg.qr(x.unsqueeze(-1), mode="complete").Q[..., 1:]
    bent = constant_rank.shape_operator(field, x, torch.full((10, 1), 2.0, dtype=torch.float64), basis)
    assert torch.allclose(bent, 2 * torch.eye(2, dtype=torch.float64).expand(10, 2, 2), atol=1e-12)


def test_points_that_are_there_already_are_copied():
    on = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    found = constant_rank.newton(circle_in_space, on, 2, 1e-10)
    assert found.converged.all()
    assert (found.iterations == 0).all()
    found.points.zero_()
    assert on.sum() == 2
