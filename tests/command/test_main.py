"""The command: what it answers, where it says it, and the code it ends with."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import topogen
from topogen.command import verbs
from topogen.command.advice import as_options
from topogen.command.main import main
from topogen.manifolds import shapes
from topogen.points import read, write

HEADER = ("schema_version", "command", "seed", "versions")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def circle(n: int, seed: int = 0) -> torch.Tensor:
    return shapes.get("circle").sample(n, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a cloud of 300 points of the circle and a model of it, fitted by the command itself."""
    folder = tmp_path_factory.mktemp("cli")
    write(folder / "circle.npy", circle(300))
    assert main(["fit", str(folder / "circle.npy"), "-o", str(folder / "model"), "--steps", "150", "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def cloud(home):
    return str(home / "circle.npy")


@pytest.fixture(scope="module")
def model(home):
    return str(home / "model")


def call(capsys, *argv: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(part) for part in argv])
    return code, *capsys.readouterr()


def document(capsys, *argv: object, code: int = 0) -> dict:
    """The one JSON document of a call; json.loads refuses anything beside it."""
    found, out, _ = call(capsys, *argv, "--json")
    assert found == code
    answer = json.loads(out)
    assert set(HEADER) <= set(answer) and answer["command"] == argv[0] and answer["seed"] == 0
    assert set(answer["versions"]) == {"topogen", "torch", "gudhi", "geoopt"}
    return answer


def refused(capsys, *argv: object, code: int = 3) -> str:
    """The single line of an error; nothing goes to stdout."""
    found, out, err = call(capsys, *argv)
    assert (found, out) == (code, "")
    assert err.startswith("topogen: error: ") and err.count("\n") == 1 and err.endswith("\n")
    return err


def process(*argv: object, **options) -> subprocess.CompletedProcess:
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, *map(str, argv)], text=True, env=ENVIRONMENT, timeout=60, **streams)


def broken_pipe() -> int:
    """The writing end of a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_version(capsys):
    assert call(capsys, "--version") == (0, f"topogen {topogen.__version__}\n", "")


def test_help_is_light_and_speaks_of_every_verb():
    script = (
        "import sys; from topogen.command.main import main; code = main(['--help'])\n"
        "heavy = {'gudhi', 'sklearn', 'scipy', 'matplotlib', 'trimesh', 'geoopt'} & set(sys.modules); sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = process("-c", script)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in verbs.VERBS) and "exit codes" in done.stdout


def test_inspect(capsys, cloud):
    code, out, _ = call(capsys, "inspect", cloud)
    assert code == 0 and "Betti Z/2   (1, 1)" in out
    found = document(capsys, "inspect", cloud)["inspection"]
    assert found["dim"] == 1 and found["n"] == 300 and found["betti"] == {"2": [1, 1], "3": [1, 1]}


def test_fit_says_what_was_chosen(capsys, home, cloud):
    answer = document(capsys, "fit", cloud, "-o", home / "other", "--steps", "20")
    assert answer["dim"] == 1 and any(note.startswith("manifold: ") for note in answer["notes"])
    assert topogen.load(home / "other").manifold.dim == 1


def test_sample(capsys, home, model):
    answer = document(capsys, "sample", model, "-n", "40", "-o", home / "samples.csv")
    drawn = read(home / "samples.csv")
    assert answer["n"] == 40 and drawn.shape == (40, 2)
    assert torch.allclose(drawn.norm(dim=1), torch.ones(40, dtype=drawn.dtype), atol=0.05)


def test_project_counts_what_it_moved(capsys, home, model):
    far = 1.1 * circle(50, seed=1)
    write(home / "far.npy", far)
    answer = document(capsys, "project", model, home / "far.npy", "-o", home / "near.npy")
    near = read(home / "near.npy")
    assert answer["converged"] == len(near) == 50 and answer["unconverged"] == 0 and answer["unconverged_rows"] == []
    assert answer["distance"]["mean"] == pytest.approx(float((near - far).norm(dim=1).mean()))
    assert answer["distance"]["mean"] == pytest.approx(0.1, abs=0.03)


def test_verify_confirms(capsys, cloud):
    code, out, _ = call(capsys, "verify", cloud, "--expect", "circle")
    assert code == 0 and "VERDICT   CONFIRMED" in out
    assert document(capsys, "verify", cloud, "--expect", "1,1")["verdict"] == "CONFIRMED"


def test_verify_a_model_on_a_grid_and_against_a_name(capsys, cloud, tmp_path):
    model = str(tmp_path / "network")
    assert call(capsys, "fit", cloud, "-o", model, "--constraint", "neural", "--steps", "400", "--quiet")[0] == 0
    code, out, _ = call(capsys, "verify", model, "--against", "circle", "--grid", 64, "--json", "--quiet")
    found = json.loads(out)
    assert code == 0
    assert found["expected"]["name"] == "circle"
    assert found["label"] == "proved"
    assert any(claim["text"].startswith("grid certificate: the zero set in the box has Betti numbers (1,1)") for claim in found["claims"])


def test_a_grid_for_a_cloud_is_refused(capsys, cloud):
    code, _, error = call(capsys, "verify", cloud, "--expect", "circle", "--grid", 64)
    assert code == 3
    assert "grid: 64 cells need a constraint" in error


def test_verify_refutes_a_sphere_for_a_torus(capsys, home):
    for name in ("sphere", "torus"):
        assert main(["shapes", name, "-n", "20000", "-o", str(home / f"{name}.npy")]) == 0
    answer = document(capsys, "verify", home / "sphere.npy", "--against", home / "torus.npy", "--density-ratio", "1.1", code=1)
    assert answer["verdict"] == "REFUTED" and answer["exit_code"] == 1
    few = document(capsys, "verify", home / "sphere.npy", "--expect", "torus", code=4)
    assert "state --density-ratio" in few["summary"] and "density_ratio=" not in few["summary"]


def test_a_density_ratio_below_one_is_a_usage_error(capsys, cloud):
    code, _, error = call(capsys, "verify", cloud, "--expect", "circle", "--density-ratio", "0.5")
    assert code == 2
    assert "expected a number of at least 1, found 0.5" in error


def test_advice_names_the_options_of_the_verb():
    verify = Namespace(density_ratio=None, scale=None, fields=(2, 3), dim=None, closed=False)
    assert as_options("state density_ratio= (largest) or scale=; say dim=, closed=True", verify) == (
        "state --density-ratio (largest) or --scale; say --dim, --closed"
    )
    assert as_options({"a": ["fields=(2, 3, 5, 7)"]}, verify) == {"a": ["--fields 2,3,5,7"]}
    assert as_options("pass dim=, closed=True", Namespace(dim=None)) == "pass --dim, closed=True"
    assert as_options("homology(points, landmarks=...)", verify) == "homology(points, landmarks=...)"


def test_outliers_are_dropped_and_named(capsys, home, cloud):
    points = torch.cat([read(cloud), torch.full((1, read(cloud).shape[1]), 90.0, dtype=torch.float64)])
    write(home / "stray.npy", points)
    code, out, error = call(
        capsys, "verify", home / "stray.npy", "--expect", "circle", "--dim", 1, "--closed", "--density-ratio", "1", "--drop-outliers", "--json"
    )
    assert f"left out row {len(points) - 1}, counted from 0" in error
    assert (code, json.loads(out)["label"]) == (0, "statistical"), "without the stray point the rest is judged as it is"
    named = document(capsys, "inspect", home / "stray.npy")
    assert named["inspection"]["strays"] == [len(points) - 1]


def test_verify_takes_a_known_scale_and_a_mesh(capsys, home, cloud):
    assert document(capsys, "verify", cloud, "--expect", "circle", "--scale", "0.5", "--closed", code=4)["verdict"] == "INCONCLUSIVE"
    trimesh.creation.icosphere(3).export(home / "ball.obj")
    answer = document(capsys, "verify", home / "ball.obj", "--expect", "sphere")
    assert answer["label"] == "proved"
    assert document(capsys, "verify", home / "ball.obj", "--expect", "sphere", "--points", "4000")["label"] != "proved"


def test_verify_is_inconclusive_on_thirty_points(capsys, home):
    write(home / "few.npy", circle(30))
    assert document(capsys, "verify", home / "few.npy", "--expect", "circle", code=4)["verdict"] == "INCONCLUSIVE"


def test_shapes(capsys, home):
    rows = document(capsys, "shapes")["shapes"]
    assert {row["name"] for row in rows} == set(shapes.SHAPES)
    assert document(capsys, "shapes", "torus")["betti"] == {"2": [1, 2, 1], "3": [1, 2, 1]}
    assert call(capsys, "shapes")[1].count("\n") == len(rows) + 1
    assert document(capsys, "shapes", "klein_bottle", "-n", "7", "-o", home / "klein.npz")["n"] == 7
    assert read(home / "klein.npz").shape == (7, 4)
    refused(capsys, "shapes", "no_such_shape")


def test_run_as_a_process_and_quiet(home, cloud):
    done = process("-m", "topogen", "run", cloud, "-o", home / "run", "--steps", "150", "-n", "200", "--expect", "circle", "--json", "--quiet")
    answer = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(HEADER) <= set(answer) and answer["verdict"] == "CONFIRMED"
    assert answer["seconds"] > sum(answer["stage_seconds"].values()) > 0
    assert read(home / "run" / "samples.npy").shape == (200, 2)


@pytest.mark.parametrize(
    "argv", [["inspect", "C"], ["verify", "C", "--expect", "circle"], ["sample", "M", "-n", "5", "-o", "out.npy"], ["project", "M", "C", "-o", "out.npy"]]
)
def test_quiet_silences_stderr(capsys, tmp_path, monkeypatch, cloud, model, argv):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *({"C": cloud, "M": model}.get(part, part) for part in argv), "--quiet")
    assert code == 0 and out and err == ""


def _nan(path: Path) -> None:
    np.save(path, np.array([[0.0, 1.0], [np.nan, 2.0], [1.0, 1.0]]))


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("points.txt", "1 2 3")


BAD = {"NaN": _nan, "empty": Path.touch, "zip": _zip, "1-D": lambda path: np.save(path, np.arange(9.0)), "missing": lambda path: None}
SHORT = {"one point": 1, "two points": 2}


@pytest.mark.parametrize("name", BAD)
def test_an_unusable_cloud_is_3(capsys, tmp_path, name):
    path = tmp_path / "cloud.npy"
    BAD[name](path)
    refused(capsys, "inspect", path)
    refused(capsys, "fit", path, "-o", tmp_path / "model")
    refused(capsys, "verify", path, "--expect", "torus", "--quiet")
    refused(capsys, "run", path, "-o", tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir()] in ([], ["cloud.npy"])


@pytest.mark.parametrize("name", SHORT)
def test_too_few_points_are_3(capsys, tmp_path, name):
    write(tmp_path / "cloud.npy", circle(SHORT[name]))
    refused(capsys, "inspect", tmp_path / "cloud.npy")
    refused(capsys, "fit", tmp_path / "cloud.npy", "-o", tmp_path / "model")


def test_errors_are_documents_too(capsys, tmp_path):
    _nan(tmp_path / "cloud.npy")
    answer = document(capsys, "inspect", tmp_path / "cloud.npy", code=3)
    assert answer["exit_code"] == 3 and "NaN" in answer["error"]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["bogus"],
        ["inspect"],
        ["inspect", "C", "--no-such-option"],
        ["sample", "M", "-n", "0", "-o", "out.npy"],
        ["sample", "M", "-o", "out.npy"],
        ["sample", "M", "--no-mesh", "-o", "out.ply"],
        ["verify", "C"],
        ["inspect", "C", "--fields", "two"],
        ["inspect", "C", "--max-memory", "much"],
        ["inspect", "C", "--timeout", "-1"],
        ["inspect", "C", "--timeout", "nan"],
        ["inspect", "C", "--seed", "99999999999999999999"],
        ["fit", "C", "-o", "out", "--steps", "0"],
        ["fit", "C", "-o", "out", "--density", "gaussian"],
    ],
    ids=" ".join,
)
def test_usage_is_2(capsys, argv):
    code, out, err = call(capsys, *argv)
    assert (code, out) == (2, "") and "usage: topogen" in err


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["verify", "C", "--expect", "no_such_surface"], "expect"),
        (["verify", "C", "--expect", "torus", "--fields", "4"], "fields"),
        (["inspect", "C", "--dim", "7"], "dim"),
        (["sample", "M", "-n", "5", "-o", "out.pickle"], "pickle"),
        (["sample", "M", "-n", "5", "--mesh", "-o", "out.npy"], "--mesh"),
        (["sample", "C", "-n", "5", "-o", "out.npy"], "circle.npy"),
        (["project", "M", "C", "-o", "C"], "is the input"),
        (["fit", "C", "-o", "C"], "is the input"),
        (["fit", "C", "-o", "no/model"], "does not exist"),
        (["fit", "C", "-o", "out", "--checkpoint", "no/file"], "--checkpoint"),
        (["sample", "M", "-n", "5", "-o", "no/out.npy"], "does not exist"),
        (["project", "M", "C", "-o", "no/out.npy"], "does not exist"),
        (["shapes", "torus", "-o", "no/out.npy"], "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_input_is_3(capsys, tmp_path, monkeypatch, cloud, model, argv, names):
    monkeypatch.chdir(tmp_path)
    before = Path(cloud).read_bytes()
    assert names in refused(capsys, *({"C": cloud, "M": model}.get(part, part) for part in argv))
    assert not list(tmp_path.iterdir()) and Path(cloud).read_bytes() == before


def test_a_foreign_folder_is_refused_before_any_work(capsys, tmp_path, monkeypatch, cloud):
    monkeypatch.setattr(topogen, "inspect", lambda *_, **__: pytest.fail("work was done"), raising=False)
    (tmp_path / "diary.txt").write_text("mine")
    for verb in ("fit", "run"):
        assert "name a new folder" in refused(capsys, verb, cloud, "-o", tmp_path)
    assert (tmp_path / "diary.txt").read_text() == "mine"


def test_a_run_is_not_written_over_the_folder_that_holds_its_input(capsys, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    write(tmp_path / "cloud.npy", circle(50))
    assert "holds the input" in refused(capsys, "run", tmp_path / "cloud.npy", "-o", tmp_path)
    assert (tmp_path / "cloud.npy").is_file()


def test_two_clouds_are_compared(capsys, cloud, home):
    write(home / "beside.npy", torch.cat([circle(300, 1), 0.4 * circle(150, 2) + torch.tensor([3.0, 0.0], dtype=torch.float64)]))
    answer = document(capsys, "compare", cloud, home / "beside.npy", "--permutations", 19, "--quiet")
    assert [feature["degree"] for feature in answer["only_y"]] == [0, 1] and not answer["only_x"]
    assert answer["hausdorff"]["there"] < 0.1 < answer["hausdorff"]["back"] and set(answer["x_beyond_y"]) >= {"value", "standard_error"}
    write(home / "high.npy", torch.rand(50, 3, generator=torch.Generator().manual_seed(0)))
    assert "R^2 and R^3" in refused(capsys, "compare", cloud, home / "high.npy")


def test_a_verification_goes_to_a_folder(capsys, cloud, tmp_path):
    pytest.importorskip("matplotlib")
    for _ in range(2):  # an earlier one is replaced
        answer = document(capsys, "verify", cloud, "--expect", "circle", "-o", tmp_path / "out", "--quiet")
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"verification.json", "report.txt", "barcode.png"}
    kept = json.loads((tmp_path / "out" / "verification.json").read_text())
    assert kept["verdict"] == answer["verdict"] == "CONFIRMED"
    (tmp_path / "out" / "diary.txt").write_text("mine")
    assert "name a new folder" in refused(capsys, "verify", cloud, "--expect", "circle", "-o", tmp_path / "out")
    assert "holds the input" in refused(capsys, "verify", cloud, "--expect", "circle", "-o", Path(cloud).parent)


def test_memory_is_a_wall(capsys, cloud):
    assert document(capsys, "verify", cloud, "--expect", "circle", "--max-memory", "200M", "--quiet")["verdict"] == "CONFIRMED"


def test_no_mesh_of_a_curve(capsys, home, model):
    assert "surfaces in R^3" in refused(capsys, "sample", model, "-o", home / "curve.ply", code=2)
    assert not (home / "curve.ply").exists()


def test_timeout_is_4_and_leaves_nothing(tmp_path, cloud):
    done = process("-m", "topogen", "fit", cloud, "-o", tmp_path / "model", "--timeout", ".2")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-1].startswith("topogen: error: --timeout: 0.2 seconds are over")
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_nothing_takes_a_timeout_for_its_own_failure(capsys, cloud, monkeypatch):
    def deaf(options, say):
        try:
            while True:
                pass
        except Exception:
            return {}, "went on", 0

    monkeypatch.setitem(verbs.VERBS, "inspect", deaf)
    assert "--timeout" in refused(capsys, "inspect", cloud, "--timeout", ".05", code=4)


def test_a_timeout_that_is_swallowed_comes_again(capsys, cloud, monkeypatch):
    swallowed = []

    def deafer(options, say):
        while True:
            try:
                time.sleep(10)
            except BaseException as stop:
                swallowed.append(stop)
                if len(swallowed) > 1:
                    raise

    monkeypatch.setattr("topogen.command.main.AGAIN", 0.1)
    monkeypatch.setitem(verbs.VERBS, "inspect", deafer)
    assert "--timeout" in refused(capsys, "inspect", cloud, "--timeout", ".05", code=4) and len(swallowed) == 2


def test_a_timeout_tears_no_import(capsys, tmp_path, cloud, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import time\nend = time.monotonic() + 0.3\nwhile time.monotonic() < end:\n    pass\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    def importing(options, say):
        import slow_to_import  # noqa: F401

        time.sleep(10)

    monkeypatch.setitem(verbs.VERBS, "inspect", importing)
    assert "--timeout" in refused(capsys, "inspect", cloud, "--timeout", ".05", code=4)
    assert sys.modules.pop("slow_to_import").whole


def test_a_timeout_needs_the_main_thread_and_says_so(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["shapes", "circle", "--timeout", "9"])))
    thread.start()
    thread.join()
    assert codes == [3] and "main thread" in capsys.readouterr().err


@pytest.fixture
def interruptible():
    """Restores SIGINT: a shell starts background jobs with it ignored, and their children inherit that."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


def test_an_interrupt_is_130_and_leaves_nothing(tmp_path, cloud, interruptible):
    command = [sys.executable, "-m", "topogen", "run", cloud, "-o", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as running:
        while running.stderr.readline() != "topogen: fit\n":
            assert running.poll() is None
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "") and err.endswith("topogen: error: interrupted\n") and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_reader_that_goes_away_changes_no_verdict(home, form):
    write(home / "thirty.npy", circle(30))
    writer = broken_pipe()
    done = process("-m", "topogen", "verify", home / "thirty.npy", "--expect", "circle", "--quiet", *form, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (4, "")


def test_progress_that_nobody_reads_does_not_stop_the_work(home, cloud):
    writer = broken_pipe()
    done = process("-m", "topogen", "run", cloud, "-o", home / "unheard", "--steps", "150", "-n", "50", "--expect", "circle", stderr=writer)
    os.close(writer)
    assert done.returncode == 0 and "VERDICT" in done.stdout and (home / "unheard" / "report.json").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_full_disk_behind_stdout_is_3_and_never_read_as_refuted(form):
    with open("/dev/full", "w") as full:
        done = process("-m", "topogen", "shapes", *form, stdout=full)
    assert (done.returncode, done.stderr) == (3, "topogen: error: output: No space left on device\n")


def _raising(error: BaseException):
    def verb(options, say):
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (MemoryError(), 4),
        (topogen.errors.BudgetExceeded("too dear"), 4),
        (topogen.errors.DivergenceError("diverged"), 4),
        (OSError(28, "No space left on device", "out.npy"), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_have_their_codes(capsys, cloud, monkeypatch, error, code):
    monkeypatch.setitem(verbs.VERBS, "inspect", _raising(error))
    refused(capsys, "inspect", cloud, code=code)
    assert document(capsys, "inspect", cloud, code=code)["exit_code"] == code


def test_internal_errors_are_70_and_never_read_as_refuted(capsys, cloud, monkeypatch):
    monkeypatch.setitem(verbs.VERBS, "inspect", _raising(ZeroDivisionError("planted")))
    code, out, err = call(capsys, "inspect", cloud)
    assert (code, out) == (70, "") and "Traceback" in err and "internal error: ZeroDivisionError: planted" in err
    assert document(capsys, "inspect", cloud, code=70)["exit_code"] == 70


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "xyz"])
def test_same_seed_same_bytes(tmp_path, model, suffix):
    files = [tmp_path / f"{name}.{suffix}" for name in "abc"]
    for file, seed in zip(files, (3, 3, 4), strict=True):
        if suffix == "xyz":
            code = main(["shapes", "torus", "-n", "30", "--noise", ".01", "-o", str(file), "--seed", str(seed), "--quiet"])
        else:
            code = main(["sample", model, "-n", "30", "-o", str(file), "--seed", str(seed), "--quiet"])
        assert code == 0
    first, second, third = (file.read_bytes() for file in files)
    assert first == second != third


def test_same_seed_same_model(tmp_path, cloud):
    for name in ("first", "second"):
        assert main(["fit", cloud, "-o", str(tmp_path / name), "--steps", "20", "--seed", "5", "--quiet"]) == 0
    contents = [{file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("first", "second")]
    assert contents[0] == contents[1] and len(contents[0]) == 2


def test_score_compares_models_and_refuses_what_it_cannot(home, capsys):
    other = home / "other"
    points = topogen.points.read(home / "circle.npy")
    topogen.fit(points, density="charts", seed=1, quiet=True).save(other)
    assert main(["score", str(home / "model"), str(other), str(home / "circle.npy"), "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scored"] == 300 and {row["model"] for row in document["models"]} == {str(home / "model"), str(other)}
    assert document["models"][0]["behind"]["value"] == 0 <= document["models"][1]["behind"]["value"]
    assert main(["score", str(home / "model"), str(other), str(home / "circle.npy"), "-o", str(home / "s.csv"), "--quiet"]) == 3
    assert "one model" in capsys.readouterr().err
    assert main(["score", str(home / "model"), str(home / "model"), str(home / "circle.npy"), "--quiet"]) == 3
    assert "twice" in capsys.readouterr().err
