"""Stacked injective flows: exact inverses, derivatives, one chart by itself equal to its part of the stack."""

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import FlowCharts

COUNT, AMBIENT, DIM = 4, 4, 2


@pytest.fixture
def charts() -> FlowCharts:
    generator = torch.Generator().manual_seed(0)
    frames = torch.linalg.qr(torch.randn(COUNT, AMBIENT, AMBIENT, dtype=torch.float64, generator=generator)).Q
    flows = FlowCharts(torch.randn(COUNT, AMBIENT, generator=generator), frames, torch.ones(COUNT), torch.full((COUNT,), 2.0), DIM, generator=generator)
    for parameter in flows.couplings.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return flows.frozen()


def coordinates(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(COUNT, (n,), generator=generator), torch.randn(n, DIM, dtype=torch.float64, generator=generator)


def test_encoding_undoes_decoding(charts):
    chart, z = coordinates()
    x = charts.decode(chart, z)
    everything = charts.coordinates(chart, x)
    torch.testing.assert_close(everything[:, :DIM], z, rtol=0, atol=1e-10)
    assert everything[:, DIM:].abs().max() < 1e-10
    torch.testing.assert_close(charts.slope(chart, x) @ charts.jacobian(chart, z), torch.eye(DIM, dtype=torch.float64).expand(len(z), DIM, DIM))


def test_it_bends(charts):
    """A planted defect, heads that are all zero, would leave planes: no acceleration."""
    chart, z = coordinates()
    assert charts.acceleration(chart, z, z).abs().max() > 1e-2
    normal = torch.randn(len(z), AMBIENT, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    twice = (charts.bend(chart, z, normal) @ z.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close((twice * z).sum(-1), (charts.acceleration(chart, z, z) * normal).sum(-1))


def test_a_stack_is_its_charts_one_by_one(charts):
    chart, z = coordinates()
    x = charts.decode(chart, z)
    for k in range(COUNT):
        alone = charts.subset(torch.tensor([k]))
        own = z[chart == k]
        torch.testing.assert_close(alone.decode(torch.zeros(len(own), dtype=torch.int64), own), x[chart == k])


def test_as_built_it_is_the_tangent_planes():
    frames = torch.eye(3).expand(2, 3, 3)
    flat = FlowCharts(torch.zeros(2, 3), frames, torch.ones(2), torch.ones(2), 2).frozen()
    z = torch.tensor([[0.3, -0.4]], dtype=torch.float64)
    assert flat.decode(torch.tensor([1]), z).tolist() == [[0.3, -0.4, 0.0]]


def test_bad_input():
    with pytest.raises(InvalidInputError, match="frame, scale"):
        FlowCharts(torch.zeros(2, 3), torch.eye(3), torch.ones(2), torch.ones(2), 2)
