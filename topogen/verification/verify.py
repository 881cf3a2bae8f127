"""`verify`: does a cloud, a manifold or a model have the topology of other data, or the one that is expected?

Each side becomes Betti numbers over several fields (`betti_evidence`), by persistent homology under a stated scale and assumption, by a shape's closed
form or by definition; deciding claims compare them field by field, and the verdict is what these claims carry (`verdict`). It is about homology: the
same topology elsewhere in space is not refuted. Distances, dimension, ghosts, boundary and volume stand beside as claims that do not decide.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen._version import __version__
from topogen.errors import InvalidInputError
from topogen.topology.inference.expectations import Expectation, parse_expectation
from topogen.topology.inference.homology import LEVEL
from topogen.topology.persistence.budget import GIB, Budget, estimate_cost
from topogen.verification.distances import between_clouds
from topogen.verification.evidence.betti_evidence import BettiEvidence, check_primes, compare_evidence, evidence_of_expectation, filled, signature
from topogen.verification.evidence.clouds import Inspected, cloud_evidence
from topogen.verification.evidence.fidelity import Fidelity
from topogen.verification.evidence.grid import grid_claim, grid_evidence
from topogen.verification.evidence.inputs import ManifoldInput, as_cloud, manifold_input, names_topology
from topogen.verification.evidence.manifolds import FIRST, claims_about, known_evidence, sampled_evidence
from topogen.verification.evidence.meshes import as_mesh, mesh_evidence
from topogen.verification.summary import not_shown, summary
from topogen.verification.verdict import Claim, Result, decide, each

__all__ = ["verify"]


def verify(
    subject: Any,
    against: Any = None,
    expect: str | Sequence[int] | None = None,
    *,
    fields: Sequence[int] = (2, 3),
    dim: int | None = None,
    closed: bool | None = None,
    scale: float | None = None,
    density_ratio: float | None = None,
    n_samples: int | None = None,
    landmarks: int | None = None,
    seed: int = 0,
    generator: torch.Generator | None = None,
    budget: Budget | None = None,
    fill: bool = False,
    grid: int | None = None,
    samples: Tensor | None = None,
    inspection: Inspected | None = None,
    quiet: bool = True,
) -> Result:
    """Verify that a subject has the homology of a cloud, or an expected one, or both.

    Args:
        subject: a cloud (n, D) as tensor or array, the path of a file, a `Manifold`, a model with `manifold` and `sample`, or a mesh (`trimesh.Trimesh`, a
            file with faces), whose own homology is computed and not inferred from samples.
        against: another cloud or the path of one; for a manifold also its starts for sampling, in the same data units. A name or Betti numbers will do as well
            and are taken for `expect`.
        expect: a name such as "torus" or Betti numbers such as (1, 2, 1) or "1,2,1".
        fields: primes p; the verdict compares Betti numbers over every Z/p.
        dim: dimension of the set that the clouds sample, if known; a manifold says its own.
        closed: whether that set is known to be compact without boundary (lets duality help, from dimension 3 on it has to).
        scale: a bound (data units) on the Hausdorff distance of the clouds and their sets, where it is known; None: estimated.
        density_ratio: a bound on the largest over the smallest density of the clouds on their sets (twice that where these have a boundary), where it is known
            and points are drawn independently; what is decided then is statistical, with 95 % for the verdict. None: the scale is estimated, and heuristic
            evidence does not refute.
        n_samples: how many samples of a manifold; None: 10,000, doubled up to 50,000 while the answer is open.
        landmarks: how many points of each cloud carry its filtration; None: as many as are cheap. More of them resolve more, at a cost that is told (`quiet`)
            and refused beforehand where it is above the budget. What was left out for its cost is said in the verdict, with the number that takes it.
        seed, generator: randomness; the seed is used where no generator is given. The same seed gives the same result.
        budget: limits of each computation of persistence.
        fill: take degrees that the cloud `against` leaves open from a manifold subject that was learned from it, where the data lie on it, it lies along
            the data, and their distance is below its reach (`topogen.verification.evidence.fidelity`); the verdict is then heuristic.
        grid: for an implicit manifold in R^2 or R^3 (R^4 with few), certify its zero set by so many cells along the longest side of its box as well; 64 to 128
            take a minute or so. Where that proves its Betti numbers (a regular learned constraint), they are the subject's and no samples are judged.
        samples: points (k, D) that the model was asked for before (`model.sample`): these are judged first, more are drawn where they do not decide.
        inspection: what `topogen.inspect` found in the cloud `against` over these fields, whose homology is then not computed again.
        quiet: False tells each step on stderr.

    Returns a `Result`; its `exit_code` is 0 confirmed, 1 refuted, 4 inconclusive.
    Raises InvalidInputError with neither `against` nor `expect` and for clouds that cannot be used; FileFormatError for files;
    BudgetExceeded where persistence would exceed the budget.

    Example:
        >>> from topogen.manifolds.shapes import Torus
        >>> print(verify(Torus(), expect="torus").verdict)
        CONFIRMED
    """
    against, expect = _sorted_out(against, expect)
    if against is None and expect is None:
        raise InvalidInputError("against, expect: nothing to verify against; pass a cloud (against=...), a name or Betti numbers (expect='torus'), or both")
    if n_samples is not None and n_samples < 2:
        raise InvalidInputError(f"n_samples: expected at least 2 samples, found {n_samples}; leave it None to let the rule ask")
    if landmarks is not None and landmarks < 2:
        raise InvalidInputError(f"landmarks: expected at least 2 points, found {landmarks}; leave it None to take as many as are cheap")
    started = time.perf_counter()
    source = generator if generator is not None else torch.Generator().manual_seed(seed)
    run = _Run(
        check_primes(fields),
        dim,
        closed,
        scale,
        density_ratio,
        each(LEVEL, 1 if against is None else 2),
        n_samples,
        landmarks,
        budget,
        source,
        grid,
        inspection,
        _silent if quiet else _tell,
    )
    expected = None if expect is None else parse_expectation(expect)
    data = None if against is None else as_cloud(against, "against")
    drawn = None if samples is None else as_cloud(samples, "samples")
    manifold = manifold_input(subject, data, source, drawn)
    mesh = as_mesh(subject) if manifold is None else None
    mine, samples, beside, faithful = run.of_manifold(manifold, data) if manifold is not None else run.of_points(subject, mesh, data)
    theirs = None if data is None else run.of_data(data, mine)
    theirs, near = _told_by(mine, theirs, faithful if fill or (manifold is not None and manifold.model) else None, fill)
    claims = (*_deciding(mine, theirs, expected, run.fields), *near, *beside, *(() if theirs is None else theirs.beside))
    verdict = decide(claims)
    name = manifold.name if manifold is not None else f"{len(samples)} x {samples.shape[1]} points" if mesh is None else f"mesh of {len(mesh[1])} triangles"
    return Result(
        verdict=verdict,
        claims=claims,
        not_shown=not_shown(mine, theirs, expected, claims, run.fields),
        subject=name,
        subject_betti=mine.betti,
        against_betti=None if theirs is None else theirs.betti,
        expected=None if expected is None else evidence_of_expectation(expected, run.fields).betti,
        expected_name=None if expected is None else expected.name,
        summary=summary(verdict, mine, theirs, expected, claims),
        cost={"seconds": time.perf_counter() - started, "subject points": len(samples), "against points": 0 if data is None else len(data)},
        seed=seed if generator is None else None,
        versions=_versions(),
    )


class _Subject(NamedTuple):
    """The side of the subject, points of it (n, D), claims that stand beside the verdict, and how a manifold lies to the data."""

    side: BettiEvidence
    samples: Tensor
    beside: list[Claim]
    fidelity: Fidelity | None = None


@dataclass(frozen=True)
class _Run:
    """The options of one call, and the sides that they make."""

    fields: tuple[int, ...]
    dim: int | None
    closed: bool | None
    scale: float | None
    density_ratio: float | None
    level: float
    n_samples: int | None
    landmarks: int | None
    budget: Budget | None
    generator: torch.Generator
    grid: int | None
    inspection: Inspected | None
    say: Callable[[str], None]

    def of_points(self, subject: Any, mesh: tuple[Tensor, Tensor] | None, data: Tensor | None) -> _Subject:
        """As `of_cloud`, of a mesh where there is one, whose homology needs no scale; then the vertices."""
        if mesh is None:
            return self.of_cloud(as_cloud(subject, "subject"), data)
        self.say(f"homology of subject: {len(mesh[1])} triangles")
        side = mesh_evidence("subject", *mesh, self.fields)
        return _Subject(side, mesh[0], [*side.beside, *([] if data is None else between_clouds(mesh[0], data))])

    def of_cloud(self, cloud: Tensor, data: Tensor | None) -> _Subject:
        """The side of a cloud, the cloud itself, and distance claims to the data."""
        if self.grid is not None:
            raise InvalidInputError(f"grid: {self.grid} cells need a constraint to bound, and the subject is a cloud; leave grid out, or verify a model of it")
        side = self._side("subject", cloud, self.dim)
        return _Subject(side, cloud, [*side.beside, *([] if data is None else between_clouds(cloud, data))])

    def of_manifold(self, subject: ManifoldInput, data: Tensor | None) -> _Subject:
        """The side of a manifold, its samples, the claims beside the verdict, and how it lies to the data."""
        beside: list[Claim] = []
        side = known_evidence(subject.manifold, self.fields)
        if side is None:
            side, samples, beside = self._judged(subject)
        else:
            samples = subject.draw(self.n_samples or FIRST, self.generator)
        about, faithful = claims_about(subject, samples, data, self.generator, self.say, self.density_ratio)
        return _Subject(side, samples, [*beside, *about], faithful)

    def _judged(self, subject: ManifoldInput) -> tuple[BettiEvidence, Tensor, list[Claim]]:
        """The side of a manifold by the grid where that proves it, else by samples; its samples; the claim of the grid."""
        if self.grid is None:
            return *self._sampled(subject), []
        samples = subject.draw(self.n_samples or FIRST, self.generator)
        self.say(f"grid certificate: {self.grid} cells along the longest side")
        claim, found = grid_claim(subject, samples if subject.points is None else subject.points, self.grid, self.fields, self.budget)
        side = grid_evidence(subject, found)
        if side is None:
            side, samples = self._sampled(subject)
        return side, samples, [claim]

    def _sampled(self, subject: ManifoldInput) -> tuple[BettiEvidence, Tensor]:
        self._tell_cost("samples", self.n_samples or FIRST, subject.manifold.ambient_dim, subject.manifold.dim)
        return sampled_evidence(subject, self.fields, self.n_samples, self.budget, self.generator, self.say, self.level, self.landmarks)

    def of_data(self, data: Tensor, subject: BettiEvidence) -> BettiEvidence:
        """The side of `against`; the dimension of a manifold subject is taken for that of the data."""
        dim = self.dim if self.dim is not None else subject.dim
        return self._side("against", data, dim if dim is None or dim < data.shape[1] else None, self.inspection)

    def _side(self, name: str, cloud: Tensor, dim: int | None, inspection: Inspected | None = None) -> BettiEvidence:
        self.say(f"homology of {name}: {len(cloud)} points")
        self._tell_cost(name, len(cloud), cloud.shape[1], dim)
        known = {"dim": dim, "closed": self.closed, "scale": self.scale, "inspection": inspection, "density_ratio": self.density_ratio, "level": self.level}
        known["landmarks"] = self.landmarks
        return cloud_evidence(name, cloud, self.fields, **known, budget=self.budget, generator=self.generator)  # type: ignore[arg-type]

    def _tell_cost(self, name: str, points: int, ambient_dim: int, dim: int | None) -> None:
        """Say what landmarks that were asked for may cost; in R^4 and above without the radius at which the filtration ends, hence at most."""
        if self.landmarks is None:
            return
        count = min(self.landmarks, points)
        cost = estimate_cost(count, ambient_dim, ambient_dim - 1 if dim is None else min(dim, ambient_dim - 1))
        self.say(f"{count} landmarks of {name}: at most {cost.simplices:.2g} simplices, {cost.bytes / GIB:.2g} GiB, some {cost.seconds_rough:.2g} s")


def _sorted_out(against: Any, expect: Any) -> tuple[Any, Any]:
    """Cloud and expectation: a name or Betti numbers given as `against` are an expectation."""
    if not names_topology(against):
        return against, expect
    if expect is not None:
        raise InvalidInputError(f"against, expect: both name a topology ({against!r} and {expect!r}); pass a cloud as against, or one of the names")
    return None, against


def _told_by(mine: BettiEvidence, theirs: BettiEvidence | None, faithful: Fidelity | None, fill: bool) -> tuple[BettiEvidence | None, list[Claim]]:
    """The side of the data, with what it leaves open taken from the manifold where that is asked for and nothing speaks against it; and what then decides."""
    if theirs is None or faithful is None:
        return theirs, []
    if not fill or theirs.decided:
        return theirs, [faithful.on, faithful.along]
    return filled(theirs, mine) if mine.decided and faithful.holds else theirs, [faithful.on, faithful.along, faithful.within]


def _deciding(mine: BettiEvidence, theirs: BettiEvidence | None, expected: Expectation | None, fields: tuple[int, ...]) -> list[Claim]:
    """Signatures of the sides and their comparisons."""
    claims = [signature(mine)]
    if theirs is not None:
        claims += [signature(theirs), *compare_evidence(mine, theirs, fields)]
    if expected is not None:
        claims += compare_evidence(mine, evidence_of_expectation(expected, fields), fields)
    return claims


def _versions() -> dict[str, str]:
    return {"topogen": __version__, "gudhi": metadata.version("gudhi"), "torch": torch.__version__}


def _silent(text: str) -> None:
    del text


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
