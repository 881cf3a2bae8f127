"""`BlendedCharts`: large charts of a known manifold, each a smooth blend of affine maps around the nodes of a net.

With nodes x_i of chart k, coordinates z_i and slopes A_i there,

    e_k(x) = sum_i w_i(x) (z_i + A_i (x - x_i)) / sum_i w_i(x),      w_i(x) = (1 - |x - x_i|^2 / R_i^2)_+^4       over the nodes of chart k,

of class C^3 wherever a support holds x, and NaN elsewhere. The search for the point of M over z begins at

    x_i + C_i (z - z_i, products of two of its components),        i the node of chart k whose coordinates are nearest to z.

A chart may go round a handle nearly once: its supports end before its own other edge begins.
Coordinates only have to be injective on M and smooth, so that nothing is trained: exactness comes from solving e_k(x) = z on M.
Levin (1998), The approximation power of moving least-squares.
"""

from __future__ import annotations

import copy
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import Tree, linear_and_quadratic, pairs_within
from topogen.geometry.derivatives import searched
from topogen.geometry.frames import apply
from topogen.manifolds.atlas.graph_charts import Charts

__all__ = ["BlendedCharts"]

POWER = 4
_APART = 4.0


@final
class BlendedCharts(Charts):
    """K charts from nodes; they have no sheets of their own and lie on a shared one.

    Args:
        centre: c (K, D); radius: rho (K,); extent (K,): every point of patch k is within extent_k of its centre. Data units.
        node: x (m, D); owner (m,) int64: the chart of each; value: z (m, d); tilt: A (m, d, D); back: C (m, D, d + d (d + 1) / 2);
        support: R (m,).

    Raises InvalidInputError for shapes that do not agree, supports that are not positive and charts without a node.
    """

    has_own_sheets = False
    node: Tensor
    owner: Tensor
    value: Tensor
    tilt: Tensor
    back: Tensor
    support: Tensor

    def __init__(
        self, centre: Tensor, radius: Tensor, extent: Tensor, *, node: Tensor, owner: Tensor, value: Tensor, tilt: Tensor, back: Tensor, support: Tensor
    ) -> None:
        super().__init__(centre, radius, extent, value.shape[-1])
        numbers = {"node": node, "value": value, "tilt": tilt, "back": back, "support": support}
        _check_nodes(self, owner, numbers)
        for name, number in numbers.items():
            self.register_buffer(name, number.detach().double())
        self.register_buffer("owner", owner.detach())
        self._trees: tuple[list[tuple[Tree, Tensor]], Tree] | None = None

    def encode(self, chart: Tensor, x: Tensor) -> Tensor:
        """The blend (n, d) of the nodes' affine maps at points (n, D); NaN where no node of the chart is near."""
        row, weight, local, _ = self._near(chart, x)
        return _sums(row, weight.unsqueeze(1) * local, len(x)) / _sums(row, weight, len(x)).unsqueeze(1)

    def slope(self, chart: Tensor, x: Tensor) -> Tensor:
        """De_k(x) = sum_i (w_i A_i + (z_i + A_i (x - x_i) - e_k) Dw_i) / sum_i w_i (n, d, D)."""
        row, weight, local, node = self._near(chart, x)
        total = _sums(row, weight, len(x))
        z = _sums(row, weight.unsqueeze(1) * local, len(x)) / total.unsqueeze(1)
        squared = self.support[node].square()
        change = (-2 * POWER * weight ** ((POWER - 1) / POWER) / squared).unsqueeze(1) * (x[row] - self.node[node])
        terms = weight[:, None, None] * self.tilt[node] + (local - z[row]).unsqueeze(2) * change.unsqueeze(1)
        return _sums(row, terms, len(x)) / total[:, None, None]

    def decode(self, chart: Tensor, z: Tensor) -> Tensor:
        """Near the point (n, D) of M over z (n, d), where the search on M begins."""
        (node,) = searched(z, lambda w: (self._search()[1].nearest(self._lifted(chart, w.double(), self._spread), 1)[1][:, 0],))
        terms = linear_and_quadratic(z - self.value[node].to(z.dtype))
        return self.node[node].to(z.dtype) + apply(self.back[node].to(z.dtype), terms)

    def trimmed(self, radius: Tensor) -> BlendedCharts:
        """The same coordinates on balls of another radius (K,)."""
        other = copy.copy(self)
        other._buffers = dict(self._buffers) | {"radius": radius.detach().double()}
        return other

    def subset(self, kept: Tensor) -> BlendedCharts:
        """The charts with the numbers `kept` (m,) alone."""
        number = torch.full((self.count,), -1)
        number[kept] = torch.arange(len(kept))
        mine = number[self.owner] >= 0
        return BlendedCharts(
            self.centre[kept], self.radius[kept], self.extent[kept], node=self.node[mine], owner=number[self.owner[mine]], value=self.value[mine],
            tilt=self.tilt[mine], back=self.back[mine], support=self.support[mine],
        )  # fmt: skip

    def _near(self, chart: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pairs of a point and a node of its chart whose support holds it: rows (p,), w (p,), z_i + A_i (x - x_i) (p, d), nodes (p,)."""
        row, node = searched(x, lambda y: self._pairs(self._lifted(chart, y.double(), self._reach)))
        offset = x[row] - self.node[node]
        weight = (1 - offset.square().sum(1) / self.support[node].square()).clamp_min(0) ** POWER
        return row, weight, self.value[node] + apply(self.tilt[node], offset), node

    def _pairs(self, lifted: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of points and of nodes whose supports hold them, searched among nodes with supports of about one size at a time."""
        found = [(row, nodes[near]) for tree, nodes in self._search()[0] for row, near in [pairs_within(lifted, tree, self.support[nodes])]]
        return torch.cat([row for row, _ in found]), torch.cat([node for _, node in found])

    @property
    def _reach(self) -> float:
        return _APART * float(self.support.max())

    @property
    def _spread(self) -> float:
        return _APART * float(self.value.norm(dim=1).max())

    def _search(self) -> tuple[list[tuple[Tree, Tensor]], Tree]:
        """Trees of the nodes, one for each octave of supports, and of their coordinates; each chart is on a level of its own."""
        if self._trees is None:
            octave = (self.support / self.support.min()).log2().floor()
            groups = [(octave == each).nonzero().squeeze(1) for each in torch.unique(octave)]
            place = self._lifted(self.owner, self.node, self._reach)
            self._trees = [(Tree(place[rows]), rows) for rows in groups], Tree(self._lifted(self.owner, self.value, self._spread))
        return self._trees

    @staticmethod
    def _lifted(chart: Tensor, x: Tensor, height: float) -> Tensor:
        return torch.cat([x, height * chart.to(x.dtype).unsqueeze(1)], 1)


def _sums(row: Tensor, terms: Tensor, n: int) -> Tensor:
    return terms.new_zeros(n, *terms.shape[1:]).index_add(0, row, terms)


def _check_nodes(charts: Charts, owner: Tensor, numbers: dict[str, Tensor]) -> None:
    m, dim, ambient = len(owner), charts.dim, charts.ambient_dim
    shapes = {"node": (m, ambient), "value": (m, dim), "tilt": (m, dim, ambient), "back": (m, ambient, dim + dim * (dim + 1) // 2), "support": (m,)}
    for name, tensor in numbers.items():
        if tuple(tensor.shape) != shapes[name]:
            raise InvalidInputError(f"{name}: expected shape {shapes[name]} for {m} owners, found {tuple(tensor.shape)}")
    support = numbers["support"]
    if not bool((support > 0).all()):
        raise InvalidInputError(f"support: expected positive lengths, found {float(support.min()):.3g} among them")
    if not torch.equal(torch.unique(owner), torch.arange(charts.count)):
        raise InvalidInputError(f"owner: expected every chart from 0 to {charts.count - 1} and no other, found {torch.unique(owner).tolist()[:20]}")
