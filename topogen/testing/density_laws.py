"""The laws that every density on a manifold obeys, as methods of a base class for pytest classes.

For a distribution p with respect to the d-dimensional volume (Hausdorff) measure of M, pi the projection and f any function on M:

    int_M p = 1,        E f(X) = int_M p f  for X drawn from p,        log p(y) = log p(pi(y)),        a batch has the values of its rows,
    grad log p is that of its differences, or is refused

The integrals are taken by the tube formula (`tube_samples`), which uses nothing of p but its values and nothing of M but its projection.
Federer (1959), Curvature measures.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from topogen.errors import NotSupportedError
from topogen.manifolds.base import Manifold
from topogen.testing.tube_samples import TubeSamples, tube_samples

__all__ = ["DensityLaws"]


class DensityLaws:
    """Laws of a density on a compact manifold; a subclass writes `distribution`, and may write `points` and `moments`.

    `scale`, a length well below the reach of M; `n` draws per statistical law and `draws` proposals of the integrator; `false_alarm`, the probability with
    which each statistical law fails for a right density (normal approximation); `normaliser_error`, relative error granted to a normaliser that is estimated,
    0 for an exact one; `batch_tolerance`, how far a batch may be from its rows (nats), above rounding for densities computed in single precision; `seed`.
    """

    scale = 0.2
    n = 4000
    draws = 40_000
    false_alarm = 1e-4
    normaliser_error = 0.0
    batch_tolerance = 1e-9
    seed = 0

    def distribution(self) -> Any:
        """The distribution under test, with `manifold`, `sample(shape, generator=)` and `log_prob(x)`."""
        raise NotImplementedError("write distribution() in the subclass")

    def points(self, n: int, generator: torch.Generator) -> Tensor:
        """n points (n, D) that cover M, where the integrator looks for it: draws of the distribution, unless it leaves much of M empty."""
        return self._drawn(n, generator)

    def moments(self, points: Tensor) -> Tensor:
        """Functions (m, k) of points (m, D) whose means are compared: coordinates and their squares, in units of their spread."""
        centred = (points - self._centre) / self._spread
        return torch.cat([centred, centred.square()], 1)

    def test_integral_is_one(self) -> None:
        tube, density = self._integrated()
        total, error = tube.integral(density.unsqueeze(1))
        allowed = self._quantile(1) * float(error) + self.normaliser_error
        assert abs(float(total) - 1) <= allowed, f"the density integrates to {float(total):.4f} +- {float(error):.4f}, allowed {allowed:.4f}"
        assert float(error) < 0.05, f"the integrator is too coarse to tell: +- {float(error):.4f}; raise draws"

    def test_samples_follow_the_density(self) -> None:
        tube, density = self._integrated()
        drawn = self._drawn(self.n, self._generator(1))
        f = self.moments(tube.points)
        expected, error = tube.integral(density.unsqueeze(1) * f)
        total = float(tube.integral(density.unsqueeze(1))[0])
        found = self.moments(drawn)
        spread = (found.var(0) / self.n + (error / total).square()).sqrt()
        off = (found.mean(0) - expected / total).abs()
        allowed = self._quantile(f.shape[1]) * spread + self.normaliser_error * f.abs().amax(0)
        worst = int((off / allowed).argmax())
        assert bool((off <= allowed).all()), f"moment {worst}: samples {float(found.mean(0)[worst]):.4f}, density {float(expected[worst]) / total:.4f}"

    def test_log_prob_is_taken_at_the_projection(self) -> None:
        p, x = self.distribution(), self._drawn(50, self._generator(2))
        y = x + 0.1 * self.scale * torch.randn(x.shape, generator=self._generator(3), dtype=x.dtype)
        found = p.manifold.project(y)
        rows = found.converged
        assert int(rows.sum()) >= 25, f"only {int(rows.sum())} of 50 points near M project onto it"
        off = (p.log_prob(y)[rows] - p.log_prob(found.points)[rows]).abs()
        assert float(off.max()) <= max(1e-6, self.batch_tolerance), f"log_prob off M differs from that at the projection by {float(off.max()):.3g}"

    def test_batches_equal_singles(self) -> None:
        p, x = self.distribution(), self._drawn(12, self._generator(4))
        whole = p.log_prob(x)
        singles = torch.cat([p.log_prob(row.unsqueeze(0)) for row in x])
        assert bool(torch.isfinite(whole).any()), "no draw has a finite log density"
        assert float((whole - singles).abs().nan_to_num(0.0).max()) <= self.batch_tolerance, "a batch differs from its rows"
        assert torch.equal(p.log_prob(x.reshape(3, 4, -1)).reshape(-1), whole), "leading dimensions change values"

    def test_gradient_of_log_prob_is_right_or_refused(self) -> None:
        p, x = self.distribution(), self._drawn(6, self._generator(11)).requires_grad_(True)
        value = p.log_prob(x)
        assert value.requires_grad, "log_prob is cut from its argument in silence"
        along = torch.randn(x.shape, generator=self._generator(12), dtype=x.dtype)
        try:
            (found,) = torch.autograd.grad(value.sum(), x)
        except NotSupportedError:
            return
        h = 1e-4 * self.scale
        ahead, behind = (p.log_prob(x.detach() + step * along) for step in (h, -h))
        off = ((found * along).sum(-1) - (ahead - behind) / (2 * h)).abs()
        assert float(off.max()) <= 1e-4 * (1 + float(found.abs().max())), f"the gradient of log_prob is off its differences by {float(off.max()):.3g}"

    def test_shapes_and_dtypes(self) -> None:
        p = self.distribution()
        drawn = p.sample((2, 3), generator=self._generator(5))
        assert drawn.shape == (2, 3, p.manifold.ambient_dim) and drawn.dtype == torch.float64
        assert p.log_prob(drawn).shape == (2, 3) and p.log_prob(drawn).dtype == torch.float64
        assert p.log_prob(drawn.float()).dtype == torch.float32, "the dtype of a density follows its input"
        assert p.sample((0,), generator=self._generator(5)).shape == (0, p.manifold.ambient_dim)

    def test_samples_lie_on_the_manifold(self) -> None:
        m: Manifold = self.distribution().manifold
        x = self._drawn(200, self._generator(6))
        found = m.project(x)
        assert bool(found.converged.all()), f"{int((~found.converged).sum())} of 200 draws do not project"
        assert float((found.points - x).norm(dim=1).max()) <= 1e-7 * (1 + float(x.abs().max())), "draws are off M"

    def test_same_seed_same_bits_and_no_other_randomness(self) -> None:
        p, state = self.distribution(), torch.get_rng_state()
        one, two = (p.sample((20,), generator=self._generator(7)) for _ in range(2))
        assert torch.equal(one, two), "the same generator gives other draws"
        assert not torch.equal(one, p.sample((20,), generator=self._generator(8))), "another seed gives the same draws"
        assert torch.equal(state, torch.get_rng_state()), "the global generator was used although one was given"

    def _drawn(self, n: int, generator: torch.Generator) -> Tensor:
        drawn: Tensor = self.distribution().sample((n,), generator=generator)
        return drawn.double()

    def _integrated(self) -> tuple[TubeSamples, Tensor]:
        """Weighted points of M and the density (m,) there."""
        p, some = self.distribution(), self.points(2000, self._generator(9))
        self._centre, self._spread = some.mean(0), some.std(0).clamp_min(1e-12)
        tube = tube_samples(p.manifold, some, self.scale, self.draws, self._generator(10))
        return tube, p.log_prob(tube.points).exp().nan_to_num(0.0)

    def _quantile(self, count: int) -> float:
        """How many standard errors `count` comparisons stay within, but for `false_alarm`."""
        return float(torch.special.ndtri(torch.tensor(1 - self.false_alarm / (2 * count), dtype=torch.float64)))

    def _generator(self, salt: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self.seed + salt)
