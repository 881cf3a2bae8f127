"""`topogen verify` by the command on every cloud of data/ and, through TOPOGEN_DATA, on real data: what it says, and the number that decides.

One row per cloud. What is handed over is what a user would: a file, how to read it, and a name or Betti numbers; the files that the command cannot read
(MATLAB) are written as npy first, series of accelerations as delays. Right pairings may not be REFUTED and wrong ones not CONFIRMED; of other clouds
nobody knows the set.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
from rows import Row, markdown, row

HERE = pathlib.Path(__file__).parents[2] / "data"
DATA = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere"))
SUBSAMPLE = 5000
DELAYS, RATE = 4, 25


@dataclass(frozen=True)
class Cloud:
    """A file, how the command reads it, what is expected of it, and whether that is true of the set (None: nobody knows)."""

    file: pathlib.Path
    expect: str
    options: tuple[str, ...] = ()
    true: bool | None = True


OURS = {
    "circle": ("circle.csv", "circle"), "figure eight": ("figure_eight.csv", "figure_eight"), "linked circles": ("linked_circles.csv", "hopf_link"),
    "trefoil, noisy": ("trefoil_knot_noisy.csv", "trefoil"), "sphere": ("sphere.csv", "sphere"), "torus": ("torus.csv", "torus"),
    "torus, noisy": ("torus_noisy.csv", "torus"), "flat torus, noisy": ("flat_torus_noisy.npy", "flat_torus"),
    "Klein bottle": ("klein_bottle.npy", "klein_bottle"), "projective plane": ("projective_plane.npy", "rp2"),
    "Moebius band": ("moebius_band.csv", "moebius_band"), "Swiss roll": ("swiss_roll.csv", "swiss_roll"),
    "two spheres, noisy": ("two_spheres_noisy.csv", "two_spheres"), "rotations": ("rotations.npy", "so3"), "genus two": ("genus_two.csv", "genus 2"),
}  # fmt: skip
LEG, CYCLIC = "activities_p1_left_leg.csv", ("a09", "a13", "a14", "a18")
PATCHES, EARTH, TORSION = "image_patches", "earth", "--angles"
PHI_PSI = ("--columns", "phi_rad,psi_rad", TORSION, "radians")
REAL = {
    "floods": Cloud(DATA / EARTH / "flood.csv", "sphere", ("--latlon",), None),
    "earthquakes": Cloud(DATA / EARTH / "quakes_all.csv", "sphere", ("--latlon",), None),
    "cyclooctane": Cloud(DATA / "cyclooctane" / "pointsCycloOctane.mat", "1,1,2"),
    "cyclooctane as Klein bottle": Cloud(DATA / "cyclooctane" / "pointsCycloOctane.mat", "klein_bottle", true=False),
    "image patches, core": Cloud(DATA / PATCHES / "nk300c30Dct.mat", "circle"),
    "image patches, core, told the dimension": Cloud(DATA / PATCHES / "nk300c30Dct.mat", "circle", ("--dim", "1")),
    "image patches, 5000 of all": Cloud(DATA / PATCHES / "n50000Dct.mat", "klein_bottle", true=None),
    "image patches, 5000 of all, as sphere(7)": Cloud(DATA / PATCHES / "n50000Dct.mat", "sphere(7)", true=None),
    **{f"activity {a}, delays": Cloud(DATA / "activities" / f"{LEG}#{a}", "circle", true=None) for a in CYCLIC},
    **{f"activity {a}, told the dimension": Cloud(DATA / "activities" / f"{LEG}#{a}", "circle", ("--dim", "1"), None) for a in CYCLIC},
    "activities, accelerations": Cloud(DATA / "activities" / LEG, "circle", ("--columns", "0,1,2"), None),
    "protein torsions": Cloud(DATA / "protein_torsion" / "top500_phi_psi.csv", "flat_torus", PHI_PSI, None),
    "RNA torsions": Cloud(DATA / "rna_torsion" / "rna.tsv", "flat_torus(7)", ("--columns", "2-8", TORSION, "degrees"), None),
    "bunny": Cloud(DATA / "meshes" / "bunny_simp.obj", "sphere"),
    "bunny as torus": Cloud(DATA / "meshes" / "bunny_simp.obj", "torus", true=False),
}  # fmt: skip
CLOUDS = {**{name: Cloud(HERE / file, expect) for name, (file, expect) in OURS.items()}, **REAL}


def prepared(cloud: Cloud, folder: pathlib.Path) -> pathlib.Path:
    """The file itself, or one that the command reads."""
    path, _, activity = str(cloud.file).partition("#")
    target = folder / "cloud.npy"
    if activity:
        lines = pathlib.Path(path).read_text(encoding="ascii").splitlines()
        np.save(target, delays(np.array([line.split(",")[:3] for line in lines if activity in line], dtype=np.float64)))
        return target
    if not path.endswith(".mat"):
        return cloud.file
    from scipy.io import loadmat

    points = next(value for name, value in loadmat(path).items() if not name.startswith("__"))
    keep = np.random.default_rng(0).permutation(len(points))[:SUBSAMPLE] if "n50000" in path else slice(None)
    np.save(target, np.ascontiguousarray(points[keep], dtype=np.float64))
    return target


def delays(series: np.ndarray) -> np.ndarray:
    """Each instant of a series (n, 3) with those a quarter, a half and three quarters of a second later (m, 12)."""
    steps = [round(RATE * k / DELAYS) for k in range(DELAYS)]
    return np.concatenate([series[s : len(series) - steps[-1] + s] for s in steps], 1)


def verified(cloud: Cloud, folder: pathlib.Path) -> Row:
    """What the command says."""
    command = [sys.executable, "-m", "topogen", "verify", str(prepared(cloud, folder)), "--expect", cloud.expect, *cloud.options, "--json", "--quiet"]
    began = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    seconds = time.perf_counter() - began
    assert run.returncode in (0, 1, 4), run.stderr
    found = json.loads(run.stdout)
    betti = "; ".join(f"Z/{p} ({','.join('?' if b is None else str(b) for b in numbers)})" for p, numbers in found["subject"]["betti"].items())
    return {
        "expected": cloud.expect, "n": int(found["cost"]["subject points"]), "verdict": found["verdict"], "label": found["label"] or "-", "betti": betti,
        "decides": found["summary"], "seconds": seconds,
    }  # fmt: skip


@pytest.mark.parametrize("name", CLOUDS)
def test_clouds(name, tmp_path):
    cloud = CLOUDS[name]
    if not pathlib.Path(str(cloud.file).partition("#")[0]).is_file():
        pytest.skip("TOPOGEN_DATA names no folder of real data")
    found = row("clouds", name.replace(" ", "_"), lambda: verified(cloud, tmp_path))
    print("\n" + markdown([found], tuple(found)))
    assert found["verdict"] != {True: "REFUTED", False: "CONFIRMED", None: ""}[cloud.true]
