"""`topogen run` as it comes, on every cloud of data/, on shapes outside of the list and, through TOPOGEN_DATA, on real data: what it chose, found and took.

`held_out_pct` is the root mean square distance, in percent of the diameter, of points that neither the fit nor the choice of the constraint saw.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import torch
from outside import OUTSIDE
from rows import Row, markdown, row
from test_clouds import CLOUDS, prepared

from topogen.points import write

SEEN: dict[pathlib.Path, str] = {cloud.file: name for name, cloud in reversed(CLOUDS.items()) if "told" not in name and cloud.true is not False}
LIMIT = 900
COLUMNS = ("name", "n", "ambient", "dim", "constraint", "held_out_pct", "verdict", "label", "betti_2", "cpu_seconds", "peak_gb")
_MEASURED = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({LIMIT}, {LIMIT + 9}))
from topogen.command.main import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print("cost", used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6, file=sys.stderr)
sys.exit(code)
"""


def measure(path: pathlib.Path, folder: pathlib.Path, options: tuple[str, ...] = ()) -> Row:
    command = [sys.executable, "-W", "ignore", "-c", _MEASURED, "run", str(path), "-o", str(folder / "out"), "--json", "--quiet", *options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode < 0:
        return {"verdict": f"not ended in {LIMIT} s"}
    cost = dict(zip(("cpu_seconds", "peak_gb"), map(float, done.stderr.strip().splitlines()[-1].split()[1:]), strict=True))
    if not done.stdout.strip():
        return cost | {"verdict": done.stderr.strip().splitlines()[0][:100]}
    found = json.loads(done.stdout)
    inspection, training, verification = found["inspection"], found["training"], found["verification"]
    known = {"n": inspection["n"], "ambient": inspection["ambient_dim"], "dim": inspection["dim"], "constraint": training.get("constraint", "-")}
    held_out = 100 * training["held_out"]["distance"] / inspection["diameter"]
    betti = verification["subject"]["betti"]
    return (
        known | cost | {"held_out_pct": held_out, "verdict": verification["verdict"], "label": verification["label"], "betti_2": str(betti and betti.get("2"))}
    )


@pytest.mark.parametrize("name", SEEN.values())
def test_run_on_clouds(name, tmp_path):
    cloud = CLOUDS[name]
    if not pathlib.Path(str(cloud.file).partition("#")[0]).exists():
        pytest.skip("real data: TOPOGEN_DATA names no folder with it")
    found = row("runs", name, lambda: measure(prepared(cloud, tmp_path), tmp_path, cloud.options))
    print("\n" + markdown([found], COLUMNS))


@pytest.mark.parametrize("name", OUTSIDE)
def test_run_on_shapes_outside(name, tmp_path):
    known = OUTSIDE[name]

    def measured() -> Row:
        write(tmp_path / "cloud.npy", known.sampler(known.n, torch.Generator().manual_seed(0)))
        return measure(tmp_path / "cloud.npy", tmp_path)

    found = row("runs", name, measured)
    print("\n" + markdown([found], COLUMNS))
    assert found.get("betti_2") in (str(list(known.betti)), "None", None), "a wrong Betti number is worse than none"
