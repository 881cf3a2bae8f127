"""What the pages "write your own" print works as it stands: the files are taken from the pages, installed as a package of somebody else, and run."""

import json
import pathlib
import re
import subprocess
import sys

import pytest
import torch

import topogen
from topogen.command.main import main
from topogen.distributions import DENSITIES
from topogen.errors import InvalidInputError
from topogen.learning import MANIFOLDS
from topogen.manifolds import shapes
from topogen.sampling import sample

DOCS = pathlib.Path(topogen.__file__).parents[1] / "docs"
PAGES = ("own-density.md", "own-manifold.md", "own-kernel.md")
FILE = re.compile(r"<!-- file: (\w+\.py) -->\n```python\n(.*?)```", re.S)
ENTRY_POINT = re.compile(r'<!-- entry point -->\n```toml\n\[project\.entry-points\."([\w.]+)"\]\n(.*?)```', re.S)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def install(folder: pathlib.Path, extra: str = "") -> pathlib.Path:
    """The files of the pages and the metadata that a wheel of them would have."""
    lines = []
    for page in PAGES:
        text = (DOCS / page).read_text(encoding="utf-8")
        for name, content in FILE.findall(text):
            (folder / name).write_text(content, encoding="utf-8")
        for group, entries in ENTRY_POINT.findall(text):
            lines += [f"[{group}]", entries.replace('"', "")]
    info = folder / "somebody_else-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody-else\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join([*lines, extra]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The package, on the path; the tables are read again before and after."""
    folder = install(tmp_path_factory.mktemp("site"))
    sys.path.insert(0, str(folder))
    DENSITIES.forget()
    MANIFOLDS.forget()
    yield folder
    sys.path.remove(str(folder))
    DENSITIES.forget()
    MANIFOLDS.forget()


@pytest.fixture(scope="module")
def cloud():
    """A sphere somewhere, denser at the top."""
    x = shapes.Sphere(2).sample(1500, seeded(1))
    return 2 * x[torch.rand(len(x), generator=seeded(2), dtype=torch.float64) < 0.2 + 0.4 * (1 + x[:, 2])] + torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)


def test_the_tables_know_them(site):
    assert "tilt" in DENSITIES and "hypersphere" in MANIFOLDS
    assert DENSITIES["tilt"].help.startswith("exp(") and MANIFOLDS["hypersphere"].fit is not None


def test_fit_save_load_score_sample(site, cloud, tmp_path):
    model = topogen.fit(cloud, "hypersphere", "tilt", seed=3)
    assert model.manifold.radius == pytest.approx(2, abs=1e-9) and any("sphere of radius 2" in note for note in model.notes)
    drawn = model.sample(4000, seeded(4))
    assert (drawn.mean(0) - cloud.mean(0)).norm() < 0.15, "the mean is what it was fitted by"
    model.save(tmp_path / "model")
    again = topogen.load(tmp_path / "model")
    assert torch.equal(model.log_prob(cloud), again.log_prob(cloud)) and torch.equal(drawn, again.sample(4000, seeded(4)))
    uniform = topogen.fit(cloud, "hypersphere", "uniform", seed=3)
    assert model.log_prob(cloud).mean() > uniform.log_prob(cloud).mean() + 0.05


def test_built_in_densities_lie_on_it(site, cloud):
    model = topogen.fit(cloud, "hypersphere", "charts", seed=5)
    assert torch.isfinite(model.log_prob(cloud)).double().mean() > 0.99


def test_the_density_lies_on_built_in_manifolds(site, cloud):
    sphere = shapes.Sphere(2)
    model = topogen.fit(sphere.project(cloud).points, sphere, "tilt", seed=6)
    assert model.sample(10, seeded(7)).norm(dim=1).sub(1).abs().max() < 1e-9


def test_the_command(site, cloud, tmp_path, capsys):
    file, model, out = tmp_path / "cloud.npy", str(tmp_path / "m"), str(tmp_path / "out")
    topogen.points.write(file, cloud)
    assert main(["fit", str(file), "-o", model, "--manifold", "hypersphere", "--density", "tilt", "--quiet"]) == 0
    assert main(["score", model, str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["distribution"] == "ExponentialTilt"
    assert main(["sample", model, "-n", "50", "-o", str(tmp_path / "s.npy")]) == 0
    assert main(["verify", model, "--expect", "sphere", "--quiet"]) == 0
    assert main(["run", str(file), "-o", out, "--manifold", "hypersphere", "--density", "tilt", "-n", "500", "--expect", "sphere", "--quiet"]) in (0, 4)
    assert (pathlib.Path(out) / "model" / "model.json").is_file()
    with pytest.raises(SystemExit):
        raise SystemExit(main(["fit", "--help"]))
    assert "hypersphere" in (said := capsys.readouterr().out) and "tilt" in said


def test_steps_that_a_density_does_not_take(site, cloud, tmp_path, capsys):
    topogen.points.write(tmp_path / "c.npy", cloud)
    assert main(["fit", str(tmp_path / "c.npy"), "-o", str(tmp_path / "m"), "--density", "tilt", "--density-steps", "5"]) == 3
    assert "diffusion, flow" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["test_exponential_tilt.py", "test_hypersphere.py", "test_three_scales.py"])
def test_the_law_suites_of_the_pages_pass(site, name):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(site), name], cwd=site, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_wrong_density_fails_its_law_suite(site, tmp_path):
    """Twice the tilt in the samples: the suite of the page must see it."""
    for name in ("exponential_tilt.py", "test_exponential_tilt.py"):
        (tmp_path / name).write_text((site / name).read_text().replace("weights = (self.pool @ self.a - ", "weights = (2 * self.pool @ self.a - "))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "test_exponential_tilt.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "test_samples_follow_the_density" in done.stdout


def test_the_kernel_of_the_page_samples(site):
    from three_scales import ThreeScales

    sphere = shapes.Sphere(2)
    chains = sample(sphere, lambda x: -2 * x[:, 2], start=sphere.sample(200, seeded(8)), n_steps=200, kernel=ThreeScales, generator=seeded(9))
    truth = 1 / torch.tanh(torch.tensor(2.0)) - 0.5
    assert abs(float(chains.points[50:, :, 2].mean()) - float(truth)) < 0.03


def test_broken_entry_points_are_named_and_left_out(tmp_path, monkeypatch):
    install(tmp_path, "[topogen.densities]\nbroken = nowhere_at_all:ENTRY\nuniform = exponential_tilt:ENTRY\nwrong = exponential_tilt:POOL\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    DENSITIES.forget()
    try:
        with pytest.warns(RuntimeWarning) as caught:
            names = set(DENSITIES)
        said = "\n".join(str(warning.message) for warning in caught)
        assert "broken = nowhere_at_all:ENTRY cannot be imported" in said and "wrong = exponential_tilt:POOL is int" in said
        assert {"uniform", "energy", "charts", "flows", "diffusion", "flow", "tilt"} >= names >= {"uniform", "flow"}
        assert "uniform" in str(DENSITIES["uniform"].fit.__module__)
    finally:
        monkeypatch.undo()
        DENSITIES.forget()


def test_unknown_names_list_what_there_is(site, cloud):
    with pytest.raises(InvalidInputError, match="tilt"):
        topogen.fit(cloud, density="nothing")
    with pytest.raises(InvalidInputError, match="hypersphere"):
        topogen.fit(cloud, manifold="nothing")
    with pytest.raises(InvalidInputError, match="expected one of"):
        topogen.fit(cloud, manifold="shape")
