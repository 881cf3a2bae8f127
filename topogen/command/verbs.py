"""What each verb of the command does: options in, (JSON document, text, exit code) out."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import topogen
from topogen.command.arguments import MESHES, wants_mesh
from topogen.command.user_function import load_function
from topogen.distributions import DENSITIES, DensityFacts
from topogen.errors import InvalidInputError
from topogen.geometry.clouds.strays import stray_rows
from topogen.manifolds import shapes
from topogen.model import compare_models
from topogen.points import read, write
from topogen.points.screening import suffix_of
from topogen.saving import check_folder
from topogen.topology.level_sets.surfaces import mesh_of
from topogen.topology.persistence.budget import Budget
from topogen.training.trainer import Settings
from topogen.verification.evidence.inputs import names_topology
from topogen.verification.evidence.meshes import as_mesh

__all__ = ["VERBS"]

Say = Callable[[str], None]
Answer = tuple[dict[str, Any], str, int]


def _inspect(options: Namespace, say: Say) -> Answer:
    """Find out what a cloud is, or what a saved model is."""
    if os.path.isdir(options.cloud):
        return _inspect_model(options)
    found = topogen.inspect(_read(options.cloud, options), dim=options.dim, fields=options.fields, seed=options.seed, budget=_budget(options))
    return {"inspection": found.to_dict()}, found.to_text(), 0


def _inspect_model(options: Namespace) -> Answer:
    """What is said of a saved model, and the certificate of its atlas where it has one."""
    model = topogen.load(options.cloud)
    facts: dict[str, Any] = {"manifold": repr(model.manifold), "dim": model.manifold.dim, "notes": list(model.notes), "inspection": dict(model.inspection)}
    lines = [f"{options.cloud}: {model.manifold!r}", *(f"- {note}" for note in model.notes)]
    if model.manifold.charts is not None:
        found = topogen.certify(model, fields=options.fields, seed=options.seed)
        facts["certificate"] = found.to_dict()
        lines.append(found.to_text())
    return {"model": options.cloud, **facts}, "\n".join(lines), 0


def _fit(options: Namespace, say: Say) -> Answer:
    """Learn a model and save it."""
    target = Path(options.output)
    _check_place(target, options.cloud)
    check_folder(target)
    if options.checkpoint is not None:
        _check_place(Path(options.checkpoint), options.cloud, "--checkpoint")
    points = _read(options.cloud, options)
    inspection = topogen.inspect(points, dim=options.dim, fields=options.fields, seed=options.seed, budget=_budget(options))
    model = topogen.fit(
        points, options.manifold, options.density, seed=options.seed, settings=_settings(options), inspection=inspection,
        density_settings=_density_settings(options), constraint=options.constraint, checkpoint=options.checkpoint, closed=options.closed,
        budget_seconds=options.budget_seconds, quiet=options.quiet,
    )  # fmt: skip
    model.save(target)
    text = "\n".join([f"saved {target}: {model.manifold!r}", *(f"- {note}" for note in model.notes)])
    facts = {"manifold": repr(model.manifold), "dim": model.manifold.dim, "notes": list(model.notes), "training": dict(model.training)}
    return {"model": str(target), **facts}, text, 0


def _sample(options: Namespace, say: Say) -> Answer:
    """Draw points, or write the zero set as a mesh."""
    target = Path(options.output)
    _check_file(target)
    model = topogen.load(options.model)
    suffix = target.suffix.lower()
    if wants_mesh(options):
        if suffix not in MESHES:
            raise InvalidInputError(f"--mesh: {target.name} is no mesh file; use one of {', '.join(MESHES)}")
        mesh = mesh_of(model.manifold.underlying, model.anchors, resolution=options.resolution)
        write(target, mesh.vertices, mesh.faces)
        return {"output": str(target), "mesh": mesh.to_dict()}, f"wrote {target}: {mesh.to_text()}", 0
    if options.energy is not None:
        model = model.tilt(load_function(options.energy))
    write(target, _drawn(model, options))
    tilted = "" if options.energy is None else f" of the model tilted by {options.energy}"
    return {"output": str(target), "n": options.n, "energy": options.energy}, f"wrote {target}: {options.n} points{tilted}", 0


def _drawn(model: topogen.Model, options: Namespace) -> Tensor:
    generator = torch.Generator().manual_seed(options.seed)
    if options.steps is None:
        return model.sample(options.n, generator=generator)
    density = DENSITIES.covering(model.distribution)
    if density is None or not density.takes_steps:
        raise InvalidInputError(f"--steps: {options.model} has a density of type {type(model.distribution).__name__}, which takes no steps; leave it out")
    drawn: Tensor = model.distribution.sample((options.n,), generator=generator, steps=options.steps)  # type: ignore[call-arg]
    return drawn


def _project(options: Namespace, say: Say) -> Answer:
    """Bring points onto the manifold; those that do not converge are left out of the file and counted."""
    target = Path(options.output)
    _check_file(target, options.cloud)
    model = topogen.load(options.model)
    points = _read(options.cloud, options)
    found = model.project(points)
    moved = (found.points - points).norm(dim=-1)[found.converged]
    kept, lost = int(found.converged.sum()), int((~found.converged).sum())
    if not kept:
        raise InvalidInputError(f"{options.cloud}: none of {lost} points projects onto the manifold of {options.model}")
    write(target, found.points[found.converged])
    distance = {"mean": float(moved.mean()), "largest": float(moved.max())}
    rows = (~found.converged).nonzero().squeeze(-1).tolist()
    text = f"wrote {target}: {kept} points moved by {distance['mean']:.4g} on average, {distance['largest']:.4g} at most; {lost} did not converge"
    return {"output": str(target), "converged": kept, "unconverged": lost, "unconverged_rows": rows, "distance": distance}, text, 0


def _score(options: Namespace, say: Say) -> Answer:
    """Log density of points with respect to the volume of the model's manifold, in data units; of several models, their paired differences."""
    if len(options.models) > 1:
        return _compared_scores(options)
    name = options.models[0]
    if options.output is not None:
        _check_file(Path(options.output), options.cloud)
    model = topogen.load(name)
    points = _read(options.cloud, options)
    density = model.log_prob(points)
    on = torch.isfinite(density)
    beyond = int(model.beyond_reach(points).sum())
    if not bool(on.any()):
        far = f"; {beyond} are beyond its reach, where they have no one closest point" if beyond else ""
        raise InvalidInputError(f"{options.cloud}: none of {len(points)} points projects onto the manifold of {name} with a density{far}")
    mean = float(density[on].mean())
    error = float(density[on].std() / on.sum() ** 0.5) if int(on.sum()) > 1 else None
    if options.output is not None:
        _write_scores(options, density)
    impossible, unprojected = _without_density(model, points[~on])
    impossible -= beyond
    found = model.project(points)
    away = (points - found.points).norm(dim=1)[found.converged]
    distance = {"mean": float(away.mean()), "largest": float(away.max())}
    distribution = type(model.distribution).__name__
    spread = "" if error is None else f" +- {error:.4f}"
    text = f"mean log density {mean:.4f}{spread} nats of {int(on.sum())} points ({distribution}); {unprojected} points have no projection"
    text += f"; the points are {distance['mean']:.3g} off the manifold on average, {distance['largest']:.3g} at most"
    text += f"; {beyond} are beyond its reach, have no one closest point, and are not in the mean" if beyond else ""
    text += f"; {impossible} lie where the density is 0 and are not in the mean" if impossible else ""
    document: dict[str, object] = {
        "mean_log_density": mean,
        "standard_error": error,
        "scored": int(on.sum()),
        "unprojected": unprojected,
        "zero_density": impossible,
    }
    document |= {"beyond_reach": beyond, "distance": distance}
    entry = DENSITIES.covering(model.distribution)
    facts = DensityFacts() if entry is None else entry.facts(model.distribution)
    return {**document, "distribution": distribution, **facts.values, "output": options.output}, "\n".join(part for part in (text, facts.text) if part), 0


def _compared_scores(options: Namespace) -> Answer:
    if options.output is not None:
        raise InvalidInputError(f"--output: holds the log densities of one model, found {len(options.models)} models; leave it out, or name one model")
    if len(set(options.models)) < len(options.models):
        raise InvalidInputError(f"models: {', '.join(options.models)} name one of them twice; leave it out")
    found = compare_models({name: topogen.load(name) for name in options.models}, _read(options.cloud, options))
    return found.to_dict(), found.to_text(), 0


def _write_scores(options: Namespace, density: Tensor) -> None:
    off = (~torch.isfinite(density)).nonzero().squeeze(1)
    if len(off):
        raise InvalidInputError(
            f"--output: {len(off)} of {len(density)} points of {options.cloud} have no finite log density, which files do not hold, the first is row"
            f" {int(off[0])} (counted from 0); leave them out, or leave out -o for the mean of the others"
        )
    write(options.output, density.unsqueeze(1))


def _without_density(model: topogen.Model, points: Tensor) -> tuple[int, int]:
    """How many of the points without a finite log density are on the manifold all the same, and how many have no projection."""
    held = int(model.project(points).converged.sum()) if len(points) else 0
    return held, len(points) - held


def _verify(options: Namespace, say: Say) -> Answer:
    """Confirm or refute the topology of a cloud or a saved model."""
    subject = topogen.load(options.subject) if os.path.isdir(options.subject) else _mesh_or_cloud(options)
    named = options.against is None or names_topology(options.against)
    against = options.against if named else _read(options.against, options)
    if options.output is not None:
        from topogen.report.verified import check_place

        check_place(Path(options.output), [options.subject] if named else [options.subject, options.against])
    found = topogen.verify(
        subject, against, options.expect, fields=options.fields, dim=options.dim, closed=options.closed or None, scale=options.scale,
        density_ratio=options.density_ratio, n_samples=options.samples, landmarks=options.landmarks, seed=options.seed,
        budget=_budget(options), grid=options.grid, quiet=options.quiet,
    )  # fmt: skip
    if options.output is not None:
        from topogen.report.verified import write_verification

        write_verification(Path(options.output), found, next((side for side in (subject, against) if isinstance(side, Tensor)), None))
    return found.to_dict(), found.to_text(), found.exit_code


def _compare(options: Namespace, say: Say) -> Answer:
    """Put two clouds side by side."""
    from topogen.topology.comparison.compare import compare as compare_clouds

    x, y = (_read(name, options) for name in (options.cloud, options.other))
    found = compare_clouds(
        x, y, max_degree=options.max_degree, fields=options.fields, permutations=options.permutations, budget=_budget(options),
        generator=torch.Generator().manual_seed(options.seed),
    )  # fmt: skip
    return found.to_dict(), found.to_text(), 0


def _list_shapes(options: Namespace, say: Say) -> Answer:
    """The table of shapes, or samples of one."""
    if options.name is None:
        rows = [_shape_row(name) for name in shapes.SHAPES]
        lines = [
            f"{r['name']:20}{r['dim']:>4}{r['ambient_dim']:>5}{r['volume']:>12.5g}  {_numbers(r['betti']['2']):14}{_numbers(r['betti']['3'])}" for r in rows
        ]
        return {"shapes": rows}, "\n".join([f"{'name':20}{'dim':>4}{'R^D':>5}{'volume':>12}  {'Betti Z/2':14}Betti Z/3", *lines]), 0
    if options.output is None:
        row = _shape_row(options.name)
        return row, "\n".join(f"{key:12}{value}" for key, value in row.items()), 0
    _check_file(Path(options.output))
    generator = torch.Generator().manual_seed(options.seed)
    points = shapes.get(options.name).sample(options.n, generator=generator)
    points = points + options.noise * torch.randn(points.shape, generator=generator, dtype=points.dtype)
    write(options.output, points)
    return {"output": options.output, "n": options.n}, f"wrote {options.output}: {options.n} points of {options.name}", 0


def _run(options: Namespace, say: Say) -> Answer:
    """Everything in a row."""
    from topogen.report.run import run as run_all

    _check_outside(Path(options.output), options.cloud)
    points = _read(options.cloud, options)
    outcome = run_all(
        points, options.output, expect=options.expect, fields=options.fields, dim=options.dim, manifold=options.manifold, density=options.density,
        constraint=options.constraint, n_samples=options.n, judged=options.samples, landmarks=options.landmarks, seed=options.seed,
        settings=_settings(options), density_settings=_density_settings(options), budget=_budget(options), budget_seconds=options.budget_seconds, say=say,
        quiet=options.quiet,
    )  # fmt: skip
    return {"output": options.output, **outcome.to_dict()}, f"{outcome.to_text()}\nwritten   {options.output}", outcome.verification.exit_code


VERBS: dict[str, Callable[[Namespace, Say], Answer]] = {
    "inspect": _inspect,
    "fit": _fit,
    "sample": _sample,
    "project": _project,
    "score": _score,
    "verify": _verify,
    "compare": _compare,
    "shapes": _list_shapes,
    "run": _run,
}


def _read(path: str, options: Namespace) -> Tensor:
    header: bool | str = {"auto": "auto", "yes": True, "no": False}[options.header]  # type: ignore[assignment]
    points = read(
        path, columns=options.columns, header=header, latlon=options.latlon, angles=options.angles or False, vertices=options.vertices, samples=options.points
    )
    return _without_strays(path, points, quiet=options.quiet) if options.drop_outliers else points


def _without_strays(path: str, points: Tensor, *, quiet: bool) -> Tensor:
    """The points (n, D) without stray rows, which are named on stderr."""
    rows = stray_rows(points)
    if len(rows) and not quiet:
        print(f"topogen: {path}: left out row {', '.join(map(str, rows.tolist()))}, counted from 0, far from all others", file=sys.stderr)
    kept = torch.ones(len(points), dtype=torch.bool)
    kept[rows] = False
    return points[kept]


def _mesh_or_cloud(options: Namespace) -> Any:
    """The path of a mesh that is to be verified as it is, else the cloud that the options read."""
    as_it_is = options.subject.lower().endswith(MESHES) and not options.vertices and options.points is None and options.columns is None
    return options.subject if as_it_is and as_mesh(options.subject) is not None else _read(options.subject, options)


def _settings(options: Namespace) -> Settings | None:
    return None if options.steps is None else Settings(steps=options.steps)


def _density_settings(options: Namespace) -> Settings | None:
    if options.density_steps is None:
        return None
    density = DENSITIES.get(options.density)
    if density is None or density.settings is None:
        trained = ", ".join(name for name, entry in DENSITIES.items() if entry.settings is not None)
        raise InvalidInputError(f"--density-steps: a density {options.density!r} is not trained by steps; use --density with one of {trained}, or leave it out")
    return density.settings(options.density_steps)


def _budget(options: Namespace) -> Budget | None:
    return None if options.max_memory is None else Budget(max_bytes=options.max_memory, wall=True)


def _check_file(target: Path, source: str | None = None) -> None:
    """As `_check_place`, and refuse a name whose suffix cannot be written."""
    _check_place(target, source)
    suffix_of(target)


def _check_place(target: Path, source: str | None = None, option: str = "--output") -> None:
    """Refuse before any work what could not be written at its end, or would write over the input."""
    parent = target.absolute().parent
    if not parent.is_dir():
        raise InvalidInputError(f"{option}: the folder {parent} does not exist; make it first")
    if not os.access(parent, os.W_OK):
        raise InvalidInputError(f"{option}: the folder {parent} cannot be written to")
    if source is not None and target.exists() and os.path.exists(source) and target.samefile(source):
        raise InvalidInputError(f"{option}: {target} is the input; name another file")


def _check_outside(folder: Path, source: str) -> None:
    """Refuse an output folder that holds the input: a run replaces the whole folder."""
    if folder.resolve() in Path(source).resolve().parents:
        raise InvalidInputError(f"--output: {folder} holds the input {source} and would be replaced; name another folder")


def _shape_row(name: str) -> dict[str, Any]:
    shape = shapes.get(name)
    betti = {str(p): list(shape.betti(p)) for p in (2, 3)}
    facts = {"dim": shape.dim, "ambient_dim": shape.ambient_dim, "volume": shape.volume, "diameter": shape.diameter}
    return {"name": name, **facts, "betti": betti, "orientable": shape.orientable, "closed": shape.closed}


def _numbers(betti: list[int]) -> str:
    return f"({', '.join(map(str, betti))})"
