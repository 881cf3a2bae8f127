"""A learned density with compact support on the unit ball of R^d for each of K charts: the bump behind a spline flow of the open cube.

    w -> u = w / sqrt(1 - |w|^2) -> s_i = u_i / sqrt(1 + u_i^2)          ball -> R^d -> open cube, smooth diffeomorphisms
    s'_i = R_i(s_i; theta_i(k, s_1 .. s_{i-1}))                          monotone rational-quadratic splines of [-1, 1], slope 1 at both ends
    q_k(w) = b(w') |det dw'/dw|,    w' from s' as w from s

The map is the identity to first order at the rim, so q_k stays within constant factors of the bump b there: sums of charts remain continuous, no mass leaves
the ball and none piles up at its edge. theta comes from one network for all charts that is told the chart by a learned vector; it starts as the identity,
where q_k = b.
With L(u) = -(d + 2)/2 log(1 + |u|^2) + 3/2 sum_i log(1 + u_i^2),

    log q_k(w) = log c - a log(1 + |u'|^2) + L(u') - L(u) + sum_i log R_i'(s_i).

Durkan, Bekasov, Murray, Papamakarios (2019), Neural spline flows; Papamakarios, Pavlakou, Murray (2017), Masked autoregressive flow for density estimation.
"""

from __future__ import annotations

from functools import cache
from typing import Any, final

import torch
from torch import Tensor, nn

from topogen.distributions.charts.ball_densities import POWER, Bump, log_bump_constant
from topogen.errors import InvalidInputError

__all__ = ["BallFlow"]

_EDGE = 1e-9


@final
class BallFlow(nn.Module):
    """q_k on the unit ball of R^d for charts k < `count`, a `BallBase` with weights.

    Args:
        count: K; dim: d; power: a of the bump behind the flow.
        bins: of each spline; width: of the two hidden layers; code: length of the vectors that tell the charts apart.
        generator: draws the initial weights (None: torch's global generator); the output layers begin at zero.

    Raises InvalidInputError for sizes below 1 (2 bins).
    """

    def __init__(
        self,
        count: int,
        dim: int,
        *,
        power: float = POWER,
        bins: int = 6,
        width: int = 64,
        code: int = 16,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(count, width, code) < 1 or bins < 2:
            raise InvalidInputError(f"count, width, code, bins: expected at least 1, 1, 1 and 2, found {count}, {width}, {code} and {bins}")
        self.bump = Bump(dim, power)
        self.count, self.dim, self.power, self.bins, self.width, self.code = count, dim, float(power), bins, width, code
        self.codes = nn.Parameter(torch.randn(count, code, generator=generator))
        self.networks = nn.ModuleList(_network(code + i, width, 3 * bins - 1, generator) for i in range(dim))

    def log_density(self, chart: Tensor, w: Tensor) -> Tensor:
        """log q_k(w) (n,) for charts (n,) at w (n, d), |w| < 1; -inf outside. Differentiable in the weights; in the dtype of w."""
        room = 1 - w.square().sum(-1)
        inside = room > 0
        u = w.to(self.codes.dtype) / room.to(self.codes.dtype).clamp_min(_EDGE).sqrt().unsqueeze(-1)
        s = u / (1 + u.square()).sqrt()
        moved, slope = self._moved(chart, s)
        there = _from_cube(moved)
        value = log_bump_constant(self.dim, self.power) - self.power * (1 + there.square().sum(-1)).log() + _volume(there) - _volume(u) + slope
        return torch.where(inside, value.to(w.dtype), -torch.inf)

    def draw(self, chart: Tensor, generator: torch.Generator | None) -> Tensor:
        """One point (n, d) float64 of q_k for each of the charts (n,): the bump's points pulled back one coordinate after the other."""
        base = self.bump.draw(chart, generator)
        u = base / (1 - base.square().sum(-1, keepdim=True)).clamp_min(_EDGE).sqrt()
        moved = (u / (1 + u.square()).sqrt()).to(self.codes.dtype)
        known = moved[:, :0]
        with torch.no_grad():
            for i in range(self.dim):
                spline = self._spline(i, chart, known)
                known = torch.cat([known, spline.inv(moved[:, i]).clamp(-1, 1).unsqueeze(-1)], -1)
        back = _from_cube(known.double())
        return back / (1 + back.square().sum(-1, keepdim=True)).sqrt()

    def _moved(self, chart: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """s' (n, d) and sum_i log R_i'(s_i) (n,)."""
        pairs = [self._spline(i, chart, s[:, :i]).call_and_ladj(s[:, i]) for i in range(self.dim)]
        return torch.stack([moved for moved, _ in pairs], -1), sum((slope for _, slope in pairs), s.new_zeros(len(s)))

    def _spline(self, i: int, chart: Tensor, before: Tensor) -> Any:
        theta = self.networks[i](torch.cat([self.codes[chart], before], -1))
        widths, heights, slopes = theta.split([self.bins, self.bins, self.bins - 1], -1)
        return _spline_class()(widths, heights, slopes, bound=1.0)

    def extra_repr(self) -> str:
        """`count=K, dim=d, power=a, bins=...`."""
        return f"count={self.count}, dim={self.dim}, power={self.power:g}, bins={self.bins}"


def _from_cube(s: Tensor) -> Tensor:
    return s / ((1 - s) * (1 + s)).clamp_min(_EDGE).sqrt()


def _volume(u: Tensor) -> Tensor:
    """L(u) (n,)."""
    squares = u.square()
    return 1.5 * squares.log1p().sum(-1) - (u.shape[-1] + 2) / 2 * squares.sum(-1).log1p()


def _network(inputs: int, width: int, outputs: int, generator: torch.Generator | None) -> nn.Sequential:
    layers = [nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, outputs)]
    with torch.no_grad():
        for layer in layers:
            limit = layer.in_features**-0.5 if layer is not layers[-1] else 0.0
            layer.weight.copy_(limit * (2 * torch.rand(layer.weight.shape, generator=generator) - 1))
            layer.bias.zero_()
    return nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])


@cache
def _spline_class() -> Any:
    """zuko's spline; importing zuko switches off the validation of torch.distributions in the whole process, which is put back."""
    validated = torch.distributions.Distribution._validate_args  # type: ignore[attr-defined]
    from zuko.transforms import MonotonicRQSTransform

    torch.distributions.Distribution.set_default_validate_args(validated)
    return MonotonicRQSTransform
