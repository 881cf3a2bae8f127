"""Models with a learned energy: fitted on a given manifold, saved, scored and tilted, by the library and by the command."""

import json

import pytest
import torch

import topogen
from topogen.command.main import main
from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds.shapes import Sphere
from topogen.points import read, write


def cloud(n: int = 400) -> torch.Tensor:
    """Points of the sphere, more of them in the north."""
    points = Sphere().sample(4 * n, torch.Generator().manual_seed(0))
    return points[torch.rand(4 * n, generator=torch.Generator().manual_seed(1), dtype=torch.float64) < (1 + points[:, 2]) / 2][:n]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("energy")
    write(home / "cloud.npy", cloud())
    (home / "mine.py").write_text("def south(x):\n    return 4 * x[:, 2]\n\ndef wrong(x):\n    return x\n")
    topogen.fit(cloud(), manifold=Sphere(), density="energy", seed=0, quiet=True).save(home / "model")
    return home


def test_a_saved_energy_is_the_same_density(folder):
    first = topogen.fit(cloud(), manifold=Sphere(), density="energy", seed=0, quiet=True)
    second = topogen.load(folder / "model")
    x = Sphere().sample(50, torch.Generator().manual_seed(2))
    assert torch.allclose(first.log_prob(x), second.log_prob(x), atol=1e-12)
    drawn = [model.sample(20, torch.Generator().manual_seed(3)) for model in (first, second)]
    assert torch.allclose(*drawn, atol=1e-12)
    assert any("density: energy" in note for note in second.notes)


def test_the_density_follows_the_data(folder):
    model = topogen.load(folder / "model")
    poles = torch.tensor([[0, 0, 0.9], [0, 0, -0.9]], dtype=torch.float64)
    north, south = model.log_prob(poles)
    assert float(north - south) > 1
    assert float(model.sample(2000, torch.Generator().manual_seed(4))[:, 2].mean()) == pytest.approx(float(cloud()[:, 2].mean()), abs=0.06)


def test_score_says_the_mean_and_writes_every_density(folder, capsys):
    assert main(["score", f"{folder}/model", f"{folder}/cloud.npy", "-o", f"{folder}/scores.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    density = topogen.load(folder / "model").log_prob(cloud())
    assert found["mean_log_density"] == pytest.approx(float(density.mean()))
    assert found["unprojected"] == 0 and found["distribution"] == "Energy" and abs(found["log_normalizer"]["standard_error"]) < 0.01
    assert torch.allclose(read(folder / "scores.csv").squeeze(1), density)


def test_sample_with_a_users_energy_moves_the_mass(folder, capsys):
    assert main(["sample", f"{folder}/model", "-n", "500", "-o", f"{folder}/tilted.csv", "--energy", f"{folder}/mine.py:south"]) == 0
    assert "tilted by" in capsys.readouterr().out
    assert float(read(folder / "tilted.csv")[:, 2].mean()) < -0.2


@pytest.mark.parametrize(
    ("name", "message"), [("mine.py:east", "no function"), ("none.py:south", "no such Python file"), ("mine.py:wrong", "expected a floating")]
)
def test_bad_energies_are_one_line(folder, capsys, name, message):
    assert main(["sample", f"{folder}/model", "-n", "5", "-o", f"{folder}/x.csv", "--energy", f"{folder}/{name}"]) == 3
    assert message in capsys.readouterr().err
    assert not (folder / "x.csv").exists()


def test_a_tilted_model_is_not_saved_and_says_why(folder):
    with pytest.raises(NotSupportedError, match="tilt it again"):
        topogen.load(folder / "model").tilt(lambda x: x[:, 0]).save(folder / "tilted")


def test_an_unknown_density_is_named():
    with pytest.raises(InvalidInputError, match="energy"):
        topogen.fit(cloud(50), manifold=Sphere(), density="magic")


def test_the_topology_of_an_energy_model_is_judged_on_uniform_samples(folder):
    found = topogen.verify(topogen.load(folder / "model"), expect="sphere", seed=0)
    assert found.exit_code == 0, found.to_text()
