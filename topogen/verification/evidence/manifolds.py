"""What is known of a manifold: the homology of samples of it, and the claims that only a manifold allows.

Samples are drawn until the homology of their set is decided: 10,000 first, then as many as the rule
asks for, up to 50,000, while the scale eps still falls. A closed manifold
hands its dimension, and orientability where it knows it, to Poincare duality. Beside the Betti numbers stand the dimension certificate, the
kept residual, ghosts (sheets of the zero set far from the data), distances to the data, boundary and volume.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from topogen.errors import TopogenError
from topogen.geometry.clouds.dimension import affine_hull
from topogen.manifolds.base import Manifold
from topogen.topology.inference.duality import orientability
from topogen.topology.inference.homology import LEVEL, Homology, homology
from topogen.topology.inference.mass_bound import uniform_ratio
from topogen.topology.level_sets.spurious_components import GhostAudit, audit
from topogen.topology.persistence.budget import Budget
from topogen.verification.claims import make_claim
from topogen.verification.dimension_certificate import dimension_certificate
from topogen.verification.distances import nearest_on, samples_to_data, to_manifold
from topogen.verification.evidence.betti_evidence import BettiEvidence, estimated_instead, evidence_of_homology
from topogen.verification.evidence.fidelity import Fidelity, ProjectedData, fidelity, seen_noise
from topogen.verification.evidence.inputs import ManifoldInput
from topogen.verification.shares import exceeds, share_bounds
from topogen.verification.verdict import Claim, each

__all__ = ["claims_about", "sampled_evidence", "known_evidence"]

FIRST, MOST = 10_000, 50_000
# the number of samples at least doubles from FIRST to MOST
LOOKS = 4
CERTIFIED = 2_000
LANDED = 1_000
GHOST_SHARE = 0.005
FALLING = 0.93
ROOM = 1.2


def known_evidence(manifold: Manifold, fields: Sequence[int]) -> BettiEvidence | None:
    """The side of a manifold that knows its Betti numbers over all `fields`; None where it does not."""
    betti = {p: found for p in fields if (found := manifold.betti(p)) is not None}
    if len(betti) < len(fields):
        return None
    return BettiEvidence("subject", betti, "proved", True, orientable=manifold.orientable, dim=manifold.dim, closed=manifold.closed, manifold=True)


def sampled_evidence(
    subject: ManifoldInput,
    fields: Sequence[int],
    n_samples: int | None,
    budget: Budget | None,
    generator: torch.Generator,
    say: Callable[[str], None],
    level: float = LEVEL,
    landmarks: int | None = None,
) -> tuple[BettiEvidence, Tensor]:
    """The side of a manifold by the homology of samples, and the samples (n, D); `n_samples` fixes their number, `landmarks` that of those which carry the
    filtration. `level`: confidence of the side."""
    samples = subject.draw(n_samples or FIRST, generator)
    judge = functools.partial(_homology, subject, fields=fields, budget=budget, generator=generator, say=say, landmarks=landmarks)
    found = judge(samples, level=level)
    while n_samples is None and len(samples) < MOST and _wants_more(found):
        more = subject.draw(_asked(found, len(samples), subject.manifold.dim) - len(samples), generator)
        samples, before = torch.cat([samples, more]), found
        found = _better(before, judge(samples, level=level))
        if found.scale > FALLING * before.scale:
            break
    dim = subject.manifold.dim
    known = orientability(found.decided, dim, subject.orientable)[0] if subject.closed else subject.orientable
    covered = "the samples cover the manifold"
    assumed = {"dim": dim, "closed": subject.closed, "orientable": known, "assumption": covered}
    side = evidence_of_homology("subject", found, subject.manifold.ambient_dim, **assumed)  # type: ignore[arg-type]
    if not side.decided:
        again = judge(samples, level=None)
        side = estimated_instead(side, evidence_of_homology("subject", again, subject.manifold.ambient_dim, **assumed))  # type: ignore[arg-type]
    return replace(side, manifold=True), samples


def claims_about(
    subject: ManifoldInput,
    samples: Tensor,
    against: Tensor | None,
    generator: torch.Generator,
    say: Callable[[str], None],
    density_ratio: float | None = None,
) -> tuple[list[Claim], Fidelity | None]:
    """Claims beside the verdict about a manifold, its samples (n, D) and the data (m, D), and its fidelity to these."""
    claims, faithful = [], None
    manifold, landed = subject.ground, samples[:0]
    if manifold.constraint is not None:
        say(f"dimension certificate at {min(CERTIFIED, len(samples))} samples")
        certificate, blended = dimension_certificate(manifold, samples[:CERTIFIED]), hasattr(manifold.constraint, "covered")
        # Blended sheets have their rank by construction: a spectrum that could not be another certifies nothing.
        claims += [] if blended else [certificate.to_claim()]
        claims.append(_residual(certificate.kept_residual, manifold.tolerance(torch.float64), certificate.count))
        if subject.points is not None:
            say("ghost audit")
            found = audit(manifold, subject.points, generator=generator)
            claims.append(_ghosts(found))
            # Blended sheets have no zeros outside of their supports, and where their starts lie is no box whose shares would tell.
            landed = _landed(found) if manifold is subject.manifold and not blended else landed
    whole = subject.placed or manifold
    if against is not None and against.shape[1] == whole.ambient_dim:
        say("distances to the data")
        own = torch.cat([landed, samples])
        drawn, points = _alike(subject, own, against)
        data = _projected(whole, against, points)
        claims += [to_manifold(data.distance), samples_to_data(drawn[len(landed) :], points)]
        claims += _room(subject, against)
        faithful = fidelity(subject.manifold, own, drawn, len(landed), data, seen_noise(against, whole, generator), density_ratio)
    if not subject.closed:
        claims.append(make_claim("boundary", "the manifold has a boundary (samples stay where the data are)", True))
    say("volume")
    return [*claims, _volume(subject)], faithful


def _room(subject: ManifoldInput, against: Tensor) -> tuple[Claim, ...]:
    """The failing claim that data (m, D) leave room for the manifold that was learned from them: none where their affine hull has more dimensions."""
    hull, dim = affine_hull(against).dim, subject.manifold.dim
    if not subject.model or dim < hull:
        return ()
    bound = f"the data fill their {hull}-dimensional affine hull: there is no lower-dimensional manifold to learn in it"
    return (make_claim("room", f"the data do not fill their affine hull of dimension {hull}", False, bound, evidence={"dim": dim, "hull": hull}),)


def _projected(whole: Manifold, against: Tensor, points: Tensor) -> ProjectedData:
    """The data (m, D), called `points` (m, D') in common coordinates, and how they lie to the manifold in all coordinates."""
    near, distance = nearest_on(whole, against)
    feet = whole.coordinates(near).masked_fill(~distance.isfinite()[:, None], torch.inf)
    return ProjectedData(points, whole.coordinates(against), feet, distance)


def _landed(found: GhostAudit) -> Tensor:
    """Where starts ended on the manifold (k, D), those far from the data first among them, without as many ghosts as are allowed."""
    counted = len(found.landed) - min(found.ghosts, int(GHOST_SHARE * found.starts))
    return found.landed[max(0, counted - LANDED) : counted]


def _alike(subject: ManifoldInput, samples: Tensor, against: Tensor) -> tuple[Tensor, Tensor]:
    """Samples and data in common coordinates that keep their distances: for a manifold in a subspace those of the subspace and the height over it."""
    if subject.placed is None:
        return samples, against
    return torch.cat([samples, samples.new_zeros(len(samples), 1)], 1), subject.placed.with_height(against)  # type: ignore[operator]


def _homology(
    subject: ManifoldInput,
    samples: Tensor,
    *,
    fields: Sequence[int],
    budget: Budget | None,
    generator: torch.Generator,
    say: Callable[[str], None],
    level: float | None,
    landmarks: int | None,
) -> Homology:
    """Of samples whose density ratio is known, since they are uniform; `level` None: at an estimated scale."""
    say(f"homology of {len(samples)} samples")
    dim, closed = subject.manifold.dim, subject.closed
    stated: dict[str, Any] = {} if level is None else {"density_ratio": uniform_ratio(dim, closed=closed), "level": each(level, LOOKS)}
    stated["landmarks"] = "auto" if landmarks is None else landmarks
    return homology(samples, dim=dim, fields=fields, closed=closed, orientable=subject.orientable, budget=budget, generator=generator, **stated)


def _wants_more(found: Homology) -> bool:
    """Undecided, or decided only by the weaker rule where more samples are cheap."""
    decided = all(betti is not None for betti in found.betti.values())
    return not decided or (found.label == "heuristic" and "alpha" in found.engine)


def _asked(found: Homology, n: int, dim: int) -> int:
    """How many samples bring eps, which falls like n^(-1/d), where the rule needs it: at least twice as many, at most MOST."""
    factor = 2.0 if found.needs is None else max(2.0, ROOM * ((found.finest or found.scale) / found.needs) ** dim)
    return int(min(MOST, factor * n))


def _better(before: Homology, after: Homology) -> Homology:
    """The later answer, unless it lost what the earlier one had decided."""
    lost = all(b is not None for b in before.betti.values()) and any(b is None for b in after.betti.values())
    return before if lost else after


def _residual(largest: float, tolerance: float, count: int) -> Claim:
    text = f"kept residual of {count} samples at most {largest:.2g}"
    return make_claim("kept residual", text, largest <= tolerance, f"tolerance {tolerance:.2g}", evidence={"kept_residual": largest, "tolerance": tolerance})


def _ghosts(found: GhostAudit) -> Claim:
    text = f"ghosts: {found.share:.2%} of {found.starts} starts end on sheets far from the data, {found.unconverged} did not converge"
    evidence = {"starts": found.starts, "ghosts": found.ghosts, "unconverged": found.unconverged, "share": found.share}
    low, high = share_bounds(found.ghosts, found.starts)
    bound = f"share {low:.2%} to {high:.2%} (95 % each), {GHOST_SHARE:.1%} allowed"
    more = exceeds(found.ghosts, found.starts, GHOST_SHARE)
    return make_claim("ghosts", text, None if more is None else not more, bound, "starts are independent", evidence)


def _volume(subject: ManifoldInput) -> Claim:
    """The d-dimensional volume with its standard error; undecided, with the reason, where it cannot be had."""
    dim = subject.manifold.dim
    if subject.manifold.closed_form:
        value = float(subject.manifold.volume)
        return make_claim(
            "volume",
            f"{dim}-dimensional volume {value:.6g} (closed form or quadrature)",
            True,
            evidence={"value": value, "standard_error": 0.0},
            label="proved",
        )
    try:
        estimate = getattr(subject.distribution, "volume", None)
    except TopogenError as error:
        return make_claim("volume", f"{dim}-dimensional volume", None, str(error), label="statistical")
    if estimate is None:
        way_out = "the model's distribution does not tell it; topogen.distributions.Uniform(manifold) does"
        return make_claim("volume", f"{dim}-dimensional volume", None, way_out, label="statistical")
    text = f"{dim}-dimensional volume {estimate.value:.5g} with standard error {estimate.standard_error:.2g} ({estimate.method})"
    evidence = {"value": estimate.value, "standard_error": estimate.standard_error, "method": estimate.method}
    return make_claim("volume", text, True, evidence=evidence, label="statistical")
