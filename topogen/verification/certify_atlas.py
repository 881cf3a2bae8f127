"""`certify`: is an atlas an atlas, and what is the topology of what it covers? Read off the charts alone, and beside it off samples and data.

On uniform samples x of M (unseen by the fit), charts k, l, m that hold x, z_k = e_k(x):

    round trip     |g_k(e_k(x)) - x|                                    0 up to the tolerance on a shared sheet; on own sheets the offset
    gap            |g_k(z_k) - g_l(z_l)|                                 how far apart two sheets are
    cocycle        |g_m(t_lm(t_kl(z_k))) - g_m(t_km(z_k))|               the transitions agree on triple overlaps
    orientation    signs of det A_k det A_l on the parts of overlaps     w_1, an odd cycle of charts is the witness (`topology.covers.orientation`)
    nerve          homology of the nerve, every intersection looked at   (`topology.covers.nerve`)
    homology       persistent homology of the samples                    a second source for the Betti numbers; of the data: a third
    volume         partition of unity                                    (`distributions.uniform.partition_of_unity`)
    Gauss-Bonnet   1/(2 pi) int K dvol = chi                             closed surfaces only, by quadrature, K from the second fundamental form
    integral       E_uniform[p] vol(M)                                   of a density on M, against 1

All are statements about the samples: statistical, with the numbers they rest on.
Bjoerner (2003), Nerves, fibers and homotopy groups; Milnor, Stasheff (1974), Characteristic classes; Gauss-Bonnet: do Carmo (1992), Riemannian Geometry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError
from topogen.manifolds.atlas.atlas import Atlas, Members, regular
from topogen.manifolds.atlas.quadrature import Quadrature, quadrature
from topogen.manifolds.base import Manifold
from topogen.topology.covers.nerve import Nerve, nerve
from topogen.topology.covers.orientation import Orientation, sign_cocycle
from topogen.topology.inference.homology import homology
from topogen.verification.distances import quantile

__all__ = ["Certificate", "certify"]

SAMPLES = {1: 5_000, 2: 20_000, 3: 40_000}
ORDERS = (6, 8)
PAIRS, TRIPLES = 20_000, 5_000
Betti = dict[int, tuple[int, ...] | None]
_PLAIN = ("charts", "samples", "unheld", "irregular", "flattest", "round_trip", "gap", "cocycle", "orientable", "euler", "agrees")


@dataclass(frozen=True)
class Certificate:
    """What `certify` found; lengths in data units.

    `round_trip`, `gap`, `cocycle`: largest values over the samples, 0 where there are no overlaps; `reconstruction`: quantiles (.5, .99, 1) of the distance
    of given points to M, None without points; `unheld`: share of the samples in no chart; `irregular`: share that a chart holds with |det A| < .1, places
    without clear tangents, left out of signs and nerve; `dead`: charts that hold no sample; `flattest`: smallest |det A|;
    `orientation`, `nerve`: see there; `samples_betti`, `points_betti`: Betti numbers by field of samples and of given points, None where undecided;
    `volume`, `gauss_bonnet` (chi by curvature; None unless M is a closed surface), `integral` (of the model's density; None for uniform ones).
    """

    charts: int
    samples: int
    unheld: float
    irregular: float
    dead: tuple[int, ...]
    flattest: float
    round_trip: float
    gap: float
    cocycle: float
    reconstruction: tuple[float, float, float] | None
    orientation: Orientation
    nerve: Nerve
    samples_betti: Betti
    points_betti: Betti | None
    volume: Estimate
    gauss_bonnet: Estimate | None
    integral: Estimate | None

    @property
    def orientable(self) -> bool | None:
        """Whether M is orientable; None where the signs do not tell."""
        return self.orientation.orientable

    @property
    def nerve_betti(self) -> dict[int, tuple[int, ...]]:
        """Betti numbers of the nerve by field; those of M if the cover is good."""
        return self.nerve.betti

    @property
    def euler(self) -> int | None:
        """Euler characteristic of M."""
        return self.nerve.euler

    @property
    def agrees(self) -> bool | None:
        """Whether nerve, samples and points (where decided) have the same Betti numbers; None where the cover is not good or nothing else is decided."""
        others = [betti for source in (self.samples_betti, self.points_betti or {}) for betti in source.items() if betti[1] is not None]
        if self.nerve.good is not True or not others:
            return None
        return all(self.nerve.betti.get(field) == found for field, found in others)

    def to_text(self) -> str:
        """For people, one line per certificate."""
        rows = [
            f"{self.charts} charts on {self.samples} samples, {self.unheld:.2%} of them in none, {self.irregular:.2%} without clear tangents",
            f"{len(self.dead)} dead charts; smallest |det| {self.flattest:.2f}",
            f"round trip {self.round_trip:.2g}, gap between sheets {self.gap:.2g}, cocycle {self.cocycle:.2g} at most",
            self.orientation.to_text(),
            self.nerve.to_text(),
            f"samples: {_said(self.samples_betti)}",
        ]
        rows += [f"points: {_said(self.points_betti)}"] if self.points_betti is not None else []
        rows += ["distance of points to M: median {:.3g}, 99 % {:.3g}, largest {:.3g}".format(*self.reconstruction)] if self.reconstruction else []
        rows.append(f"volume {self.volume}")
        rows += [f"Euler characteristic by Gauss-Bonnet {self.gauss_bonnet}"] if self.gauss_bonnet else []
        rows += [f"integral of the density {self.integral}"] if self.integral else []
        verdict = {True: "all sources agree", False: "the sources CONTRADICT each other", None: "undecided"}[self.agrees]
        return "\n".join([*rows, f"topology: {verdict}"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        estimates = {name: _estimate(getattr(self, name)) for name in ("volume", "gauss_bonnet", "integral")}
        betti = {"samples_betti": _plain(self.samples_betti), "points_betti": None if self.points_betti is None else _plain(self.points_betti)}
        parts = {"orientation": self.orientation.to_dict(), "nerve": self.nerve.to_dict()}
        return plain | {"dead": list(self.dead), "reconstruction": self.reconstruction and list(self.reconstruction)} | betti | estimates | parts


def certify(
    subject: Any,
    points: Tensor | None = None,
    *,
    samples: int | None = None,
    fields: Sequence[int] = (2, 3),
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> Certificate:
    """Certify an `Atlas`, or a model whose manifold is one, on `samples` uniform samples of it (5,000 to 40,000 by dimension) and against `points` (n, D).

    The seed is used where no generator is given; the same seed gives the same certificate. Raises InvalidInputError for any other subject.
    """
    manifold = subject if isinstance(subject, Manifold) else getattr(subject, "manifold", None)
    if not isinstance(manifold, Manifold) or manifold.charts is None:
        raise InvalidInputError(f"subject: expected an Atlas or a model on one, found {type(subject).__name__}; fit with manifold='atlas'")
    atlas = cast(Atlas, manifold)
    source = generator if generator is not None else torch.Generator().manual_seed(seed)
    uniform = Uniform(atlas, generator=source)
    x = uniform.sample((samples or SAMPLES[atlas.dim],), generator=source)
    held, holds = atlas.members(x), atlas.holds(x)
    determinants = atlas.stretches(x)
    clear = regular(holds, determinants)
    bare = ~holds.any(1)
    closed = atlas.closed
    return Certificate(
        charts=atlas.count,
        samples=len(x),
        unheld=float(bare.double().mean()),
        irregular=float((~bare & ~clear).double().mean()),
        dead=tuple((~holds.any(0)).nonzero().squeeze(-1).tolist()),
        flattest=float(determinants[clear][holds[clear]].abs().min()),
        round_trip=_round_trip(atlas, x, held),
        gap=_gap(atlas, x, held),
        cocycle=_cocycle(atlas, held),
        reconstruction=None if points is None else _reconstruction(atlas, points),
        orientation=sign_cocycle(holds[clear], determinants[clear], x[clear], atlas.dim),
        nerve=_nerve(atlas, x[clear], holds[clear], fields),
        samples_betti=homology(x, dim=atlas.dim, fields=fields, closed=closed, generator=source).betti,
        points_betti=None if points is None else homology(points.double(), dim=atlas.dim, fields=fields, closed=closed, generator=source).betti,
        volume=uniform.volume,
        gauss_bonnet=_gauss_bonnet(atlas),
        integral=_integral(subject, x, uniform.volume),
    )


def _round_trip(atlas: Atlas, x: Tensor, held: Members) -> float:
    some = _some(len(held.row), PAIRS)
    back = atlas.decode(held.chart[some], held.z[some])
    miss = (back.points - x[held.row[some]]).norm(dim=-1)
    return float(torch.where(back.found, miss, torch.inf).max()) if len(miss) else 0.0


def _gap(atlas: Atlas, x: Tensor, held: Members) -> float:
    """Largest distance of two charts' points for the same sample: on a shared sheet both are the sample."""
    on = atlas.decode(held.chart, held.z).points if atlas.sheet is None else x[held.row]
    first = torch.searchsorted(held.row, held.row)
    return float((on - on[first]).norm(dim=-1).max()) if len(on) else 0.0


def _cocycle(atlas: Atlas, held: Members) -> float:
    """Largest |g_m(t_lm(t_kl(z))) - g_m(t_km(z))| over samples held by three charts."""
    row, places = torch.unique_consecutive(held.row, return_counts=True)
    starts = places.cumsum(0) - places
    starts = starts[places >= 3]
    starts = starts[_some(len(starts), TRIPLES)]
    if not len(starts):
        return 0.0
    k, other, last = (held.chart[starts + i] for i in range(3))
    x = atlas.decode(k, held.z[starts]).points
    through = atlas.decode(other, atlas.charts.encode(other, x)).points
    two, one = (atlas.decode(last, atlas.charts.encode(last, y)) for y in (through, x))
    miss = (two.points - one.points).norm(dim=-1)[two.found & one.found]
    return float(miss.max()) if len(miss) else 0.0


def _reconstruction(atlas: Atlas, points: Tensor) -> tuple[float, float, float]:
    distance = (atlas.project(points.double()).points - points.double()).norm(dim=-1)
    return quantile(distance, 0.5), quantile(distance, 0.99), float(distance.max())


def _nerve(atlas: Atlas, x: Tensor, holds: Tensor, fields: Sequence[int]) -> Nerve:
    alive = holds.any(0).nonzero().squeeze(-1)
    return nerve(holds[:, alive], atlas.dim, fields, points=x, coordinates=lambda k, rows: atlas.charts.encode(alive[k].expand_as(rows), x[rows]))


def _gauss_bonnet(atlas: Atlas) -> Estimate | None:
    """chi of a closed surface, its error told by a second quadrature."""
    if atlas.dim != 2 or not atlas.closed:
        return None
    coarse, fine = (_total_curvature(quadrature(atlas, order), atlas) for order in ORDERS)
    return Estimate(fine / (2 * math.pi), abs(fine - coarse) / (2 * math.pi), f"quadrature of order {ORDERS[1]} in every chart, against order {ORDERS[0]}")


def _total_curvature(nodes: Quadrature, atlas: Atlas) -> float:
    return float(nodes.integrate(atlas.gauss_curvature(nodes.points)))


def _integral(subject: Any, x: Tensor, volume: Estimate) -> Estimate | None:
    """vol(M) E[p] over uniform samples, for a model whose density is not uniform."""
    distribution = getattr(subject, "distribution", None)
    if distribution is None or isinstance(distribution, Uniform):
        return None
    density = distribution.log_prob(x).exp()
    mean, error = float(density.mean()), float(density.std()) / math.sqrt(len(density))
    return Estimate(volume.value * mean, math.hypot(volume.value * error, volume.standard_error * mean), f"{len(x)} uniform samples of the atlas")


def _some(n: int, most: int) -> Tensor:
    """Rows of at most `most` entries, evenly spread."""
    return torch.arange(0, n, max(1, -(-n // most)))


def _said(betti: Betti) -> str:
    return "; ".join(f"Z/{p} {'undecided' if found is None else found}" for p, found in betti.items())


def _plain(betti: Betti) -> dict[str, list[int] | None]:
    return {str(p): None if found is None else list(found) for p, found in betti.items()}


def _estimate(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else found.to_dict()
