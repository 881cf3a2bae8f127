"""geoopt's own manifolds pass through the adapter and obey our laws."""

import geoopt
import pytest
import torch

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds.adapter import adapt
from topogen.testing import ManifoldLaws


class TestAdaptedSphere(ManifoldLaws):
    def manifold(self):
        return adapt(geoopt.Sphere(), 2, 3)

    def points(self, n, generator):
        x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
        return x / x.norm(dim=-1, keepdim=True)


class TestAdaptedSubsphere(ManifoldLaws):
    """The great circle of the unit sphere in a plane of R^3."""

    plane = torch.tensor([[1.0, 0.0], [0.0, 0.6], [0.0, 0.8]], dtype=torch.float64)

    def manifold(self):
        return adapt(_Great(self.plane), 1, 3)

    def points(self, n, generator):
        angle = 6.3 * torch.rand(n, 1, generator=generator, dtype=torch.float64)
        return torch.cat([angle.cos(), angle.sin()], -1) @ self.plane.T


class _Great(geoopt.Sphere):
    def __init__(self, plane):
        super().__init__()
        self.plane = plane

    def projx(self, x):
        return super().projx(x @ (self.plane @ self.plane.T).to(x.dtype))

    def proju(self, x, u):
        return super().proju(x, u @ (self.plane @ self.plane.T).to(x.dtype))


def test_refusals():
    with pytest.raises(NotSupportedError, match="ndim"):
        adapt(geoopt.Stiefel(), 3, 6)
    with pytest.raises(InvalidInputError, match="dim"):
        adapt(geoopt.Sphere(), 4, 3)
    with pytest.raises(InvalidInputError, match="geoopt"):
        adapt("sphere", 2, 3)


def test_a_wrong_dimension_is_met_with_an_error():
    wrong = adapt(geoopt.Sphere(), 1, 3)
    with pytest.raises(NotSupportedError, match="rank"):
        wrong.tangent_basis(torch.tensor([1.0, 0.0, 0.0]))


def test_a_curved_metric_is_met_with_an_error():
    ball = adapt(geoopt.PoincareBall(), 1, 2)
    with pytest.raises(NotSupportedError, match="projector"):
        ball.tangent_basis(torch.tensor([0.1, 0.2]))
    assert "PoincareBall" in repr(ball) or "Poincare" in repr(ball)
