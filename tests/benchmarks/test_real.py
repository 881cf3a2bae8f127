"""Real data, found through TOPOGEN_DATA: the bunny and the conformations of cyclooctane."""

import os
import pathlib
import time

import numpy as np
import pytest
import torch
from rows import Row, markdown, reference_seconds, row

from topogen import fit, points, verify
from topogen.geometry.clouds.dimension import estimate_dimension
from topogen.learning import fit_implicit
from topogen.topology.level_sets.surfaces import mesh_of

DATA = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="TOPOGEN_DATA names no folder of real data")


def bunny() -> Row:
    from scipy.spatial import cKDTree

    file = DATA / "meshes" / "bunny_simp.obj"
    cloud, dense = points.read(file), points.read(file, samples=400_000)
    start = time.process_time()
    model = fit(cloud, seed=0, quiet=True)
    seconds = time.process_time() - start
    samples = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    diagonal = float((cloud.amax(0) - cloud.amin(0)).norm())
    distance = cKDTree(dense.numpy()).query(samples.numpy())[0].mean()
    facts = mesh_of(model.manifold, cloud).facts
    found = verify(model, expect="sphere")
    ghosts = next((claim.evidence.get("share") for claim in found.claims if claim.text.startswith("ghosts")), None)
    return {
        "distance_pct_of_diagonal": 100 * float(distance) / diagonal, "euler_characteristic": facts.euler_characteristic, "genus": facts.genus,
        "watertight": facts.watertight, "betti": str(dict(found.subject_betti)), "verdict": str(found.verdict), "ghosts_pct": 100 * (ghosts or 0.0),
        "fit_seconds": seconds, "fit_in_references": seconds / reference_seconds(),
    }  # fmt: skip


def constant_distances(conformations: torch.Tensor) -> torch.Tensor:
    """The 8 bond lengths and 8 distances of next neighbours (n, 16) of conformations (n, 24) of a ring of eight atoms."""
    atoms = conformations.reshape(-1, 8, 3)
    return torch.cat([(atoms - atoms.roll(step, 1)).norm(dim=-1) for step in (1, 2)], 1)


def cyclooctane() -> Row:
    from scipy.io import loadmat

    data = torch.from_numpy(np.ascontiguousarray(loadmat(DATA / "cyclooctane" / "pointsCycloOctane.mat")["pointsCycloOctane"])).double()
    if data.shape[0] == 24:
        data = data.T.contiguous()
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=generator)
    held_out, training = data[order[: len(data) // 10]], data[order[len(data) // 10 :]]
    dim = estimate_dimension(training, generator=generator).dim
    start = time.process_time()
    model = fit_implicit(training, 2, generator=generator, quiet=True)
    seconds = time.process_time() - start
    noisy = held_out + 0.1 * torch.randn(held_out.shape, generator=generator, dtype=torch.float64) / 24**0.5
    truth = constant_distances(data).mean(0)
    found = model.manifold.project(noisy)
    error = lambda x: (constant_distances(x) / truth - 1).abs()  # noqa: E731
    before, after = error(noisy), error(found.points[found.converged])
    spectrum = model.manifold.spectrum(held_out)
    kept = spectrum[:, model.manifold.codim - 1]
    return {
        "estimated_dim": dim, "before_mean_pct": 100 * float(before.mean()), "after_mean_pct": 100 * float(after.mean()),
        "after_99_pct": 100 * float(after.quantile(0.99)), "unconverged": int((~found.converged).sum()), "kept_median": float(kept.median()),
        "kept_min": float(kept.min()), "singular_share": float((kept < kept.median() / 2).double().mean()), "notes": "; ".join(model.notes),
        "fit_seconds": seconds, "fit_in_references": seconds / reference_seconds(),
    }  # fmt: skip


@needs_data
@pytest.mark.parametrize("measure", [bunny, cyclooctane], ids=lambda measure: measure.__name__)
def test_real(measure):
    found = row("real", measure.__name__, measure)
    print("\n" + markdown([found], tuple(found)))
