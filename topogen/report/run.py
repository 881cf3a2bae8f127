"""`topogen run`: everything in a row, into one folder.

    cloud -> inspection.json -> model/ -> samples.npy (mesh.ply) -> verification.json -> report.txt, report.json,
        figure.png, barcode.png (singular.png, density.png, walk.png)

The folder is written under another name beside its place and renamed at the end, so an interrupted run leaves nothing half-written and an earlier
run stays until the new one is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topogen.distributions.density_table import DENSITIES
from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError, MissingDependencyError, TopogenError
from topogen.geometry.clouds.dimension import affine_hull
from topogen.inspection import Inspection, inspect
from topogen.manifolds.implicit.boundary_gate import half_ball_centroid
from topogen.model import Model, fit
from topogen.points import write
from topogen.report.density import draw_density, draw_walk
from topogen.report.diagrams import draw_topology
from topogen.report.figures import draw_atlas, draw_run, draw_strata
from topogen.report.folders import check_output_folder, fresh_folder
from topogen.topology.level_sets.surfaces import Mesh, mesh_of
from topogen.topology.persistence.budget import Budget
from topogen.topology.persistence.loops import loops
from topogen.training.trainer import Settings
from topogen.verification import Certificate, Result, certify, verify

__all__ = ["Outcome", "run"]

SCHEMA_VERSION = 1
SAMPLES = 10_000
WALKERS, WALK_STEPS, STAGES = 1500, 100, 5


@dataclass(frozen=True)
class Outcome:
    """What a run found: the inspection, the model, samples (n, D), the verification, the mesh of a closed surface in R^3 or why a surface there
    has none (`no_mesh`, empty elsewhere), the certificate of an atlas, seconds per stage."""

    inspection: Inspection
    model: Model
    samples: Tensor
    verification: Result
    mesh: Mesh | None
    seconds: dict[str, float]
    no_mesh: str = ""
    certificate: Certificate | None = None

    @cached_property
    def volume(self) -> Estimate:
        """The volume of M; a distribution that is not uniform does not know it with an error, so it is measured again."""
        model = self.model
        known = getattr(model.distribution, "volume", None)
        if isinstance(known, Estimate):
            return known
        return Uniform(model.manifold, points=model.anchors, generator=torch.Generator().manual_seed(self.verification.seed or 0)).volume

    def to_dict(self) -> dict[str, Any]:
        """Everything that was found, as plain values."""
        volume = self.volume
        return {
            "schema_version": SCHEMA_VERSION,
            "seed": self.verification.seed,
            "versions": dict(self.verification.versions),
            "verdict": self.verification.verdict.value,
            "inspection": self.inspection.to_dict(),
            "notes": list(self.model.notes),
            "training": dict(self.model.training),
            "manifold": repr(self.model.manifold),
            "dim": self.model.manifold.dim,
            "boundary": self.inspection.has_boundary,
            "volume": volume.to_dict(),
            "mesh": None if self.mesh is None else self.mesh.to_dict(),
            "no_mesh": self.no_mesh or None,
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
            "verification": self.verification.to_dict(),
            "stage_seconds": self.seconds,
        }

    def to_text(self) -> str:
        """The report for people."""
        parts = ["CLOUD", self.inspection.to_text(), "", "MODEL", repr(self.model.manifold), *(f"- {note}" for note in self.model.notes)]
        if self.mesh is not None or self.no_mesh:
            parts += ["", "MESH", self.no_mesh if self.mesh is None else self.mesh.to_text()]
        if self.certificate is not None:
            parts += ["", "ATLAS", self.certificate.to_text()]
        return "\n".join([*parts, "", self.verification.to_text()])


def run(
    points: Tensor,
    folder: str | Path,
    *,
    expect: str | Sequence[int] | None = None,
    fields: Sequence[int] = (2, 3),
    dim: int | None = None,
    manifold: str = "auto",
    density: str = "auto",
    constraint: str = "auto",
    n_samples: int = SAMPLES,
    judged: int | None = None,
    landmarks: int | None = None,
    seed: int = 0,
    settings: Settings | None = None,
    density_settings: Settings | None = None,
    budget: Budget | None = None,
    budget_seconds: float | None = None,
    say: Callable[[str], None] | None = None,
    quiet: bool = True,
) -> Outcome:
    """Inspect a cloud (n, D), fit a model, sample it, verify it and write everything to `folder`.

    The verification is against the cloud, and against `expect` too where it is given; degrees that the cloud leaves open are taken from the manifold where it
    lies along the data and within its reach of them (`verify(fill=True)`). `n_samples` are written; `judged` and `landmarks` are `n_samples` and `landmarks` of
    the verification. `say` hears one line per stage. Raises CheckpointError where `folder` holds
    something else, InvalidInputError where it cannot be written (both before any work), and what the stages raise.
    """
    target = Path(folder)
    check_output_folder(target)
    _check_writable(target)
    clock = _Clock(say or (lambda _: None))
    with clock("inspect"):
        inspection = inspect(points, dim=dim, fields=fields, seed=seed, budget=budget)
    with clock("fit"):
        model = fit(
            points, manifold, density, seed=seed, settings=settings, inspection=inspection, density_settings=density_settings, constraint=constraint,
            budget_seconds=budget_seconds, quiet=quiet,
        )  # fmt: skip
    with clock("sample"):
        samples = model.sample(n_samples, generator=torch.Generator().manual_seed(seed))
        mesh, no_mesh = _mesh(model, points)
    with clock("verify"):
        known: dict[str, Any] = {"samples": samples, "inspection": inspection, "n_samples": judged, "landmarks": landmarks, "quiet": quiet}
        found = verify(model, against=points, expect=expect, fields=fields, seed=seed, budget=budget, fill=True, **known)
    certificate = None
    if model.manifold.charts is not None:
        with clock("certify"):
            certificate = certify(model, points, fields=fields, seed=seed)
    outcome = Outcome(inspection, model, samples, found, mesh, clock.seconds, no_mesh, certificate)
    with clock("write"), fresh_folder(target) as place:
        _write(outcome, points, place)
    return outcome


def _check_writable(target: Path) -> None:
    """The run is written beside its place and renamed, so what has to be writable is the folder that holds it."""
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InvalidInputError(f"folder: {parent} cannot be written to; name a folder elsewhere")


def _mesh(model: Model, points: Tensor) -> tuple[Mesh | None, str]:
    """The zero set of a surface in R^3 as a mesh, or None and why there is none; elsewhere nobody expects one and there is nothing to say."""
    if (model.manifold.dim, model.manifold.ambient_dim) != (2, 3):
        return None, ""
    try:
        return mesh_of(model.manifold.underlying, points), ""
    except TopogenError as error:
        return None, f"none: {error}"


def _write(outcome: Outcome, points: Tensor, place: Path) -> None:
    outcome.model.save(place / "model")
    write(place / "samples.npy", outcome.samples)
    _json(place / "inspection.json", outcome.inspection.to_dict())
    _json(place / "verification.json", outcome.verification.to_dict())
    _json(place / "report.json", outcome.to_dict())
    (place / "report.txt").write_text(outcome.to_text() + "\n", encoding="utf-8")
    if outcome.certificate is not None:
        _json(place / "certificate.json", outcome.certificate.to_dict())
    if outcome.mesh is not None:
        write(place / "mesh.ply", outcome.mesh.vertices, outcome.mesh.faces)
    with contextlib.suppress(MissingDependencyError):
        _draw_topology(outcome.inspection, points, place / "barcode.png")
        draw_run(place / "figure.png", points, outcome.samples, outcome.verification.summary, _edge(outcome.model))
        if outcome.inspection.strata:
            draw_strata(place / "singular.png", points, outcome.inspection.strata)
        if outcome.model.manifold.charts is not None:
            draw_atlas(place / "atlas.png", outcome.model.manifold)
        _draw_distribution(place, outcome, points)


def _draw_distribution(place: Path, outcome: Outcome, points: Tensor) -> None:
    """The density of the model, and how its samples get there, as far as its entry in the table can show them."""
    distribution = outcome.model.distribution
    density = DENSITIES.covering(distribution)
    if density is not None and density.pool is not None:
        draw_density(place / "density.png", outcome.model, points, samples=outcome.samples, mesh=outcome.mesh)
    if density is not None and density.stages is not None:
        generator = torch.Generator().manual_seed(outcome.verification.seed or 0)
        draw_walk(place / "walk.png", density.stages(distribution, WALKERS, WALK_STEPS, generator, STAGES))


def _draw_topology(found: Inspection, points: Tensor, path: Path) -> None:
    """The bars behind the Betti numbers of the cloud, over the first field, and the loops around its holes, both of the cloud in its affine hull."""
    diagram = next(iter(found.homology.diagrams.values()))
    draw_topology(path, diagram, points, loops(affine_hull(points).coordinates(points)), found.homology.scale, f"the cloud: {found.homology.rule}")


def _edge(model: Model) -> Callable[[Tensor], Tensor] | None:
    """Which points (n, D) lie beyond the gate or, on a straight edge, within about a third of its radius; None for a manifold without a gate."""
    placed = model.manifold
    manifold = (placed.core or placed).underlying
    if manifold.gate is None:
        return None
    gate, margin = manifold.gate, half_ball_centroid(manifold.dim) / 2
    return lambda x: gate.signed(placed.coordinates(x), manifold.tangent_basis) > -margin


def _json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


class _Clock:
    """Tells each stage and keeps its seconds."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.say(stage)
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)
