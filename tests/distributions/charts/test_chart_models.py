"""Models with a density over charts: learned on given and on learned manifolds, saved, scored, tilted and verified, by the library and by the command."""

import json
import math

import pytest
import torch

import topogen
from topogen.command.main import main
from topogen.distributions.charts.ball_flow import BallFlow
from topogen.distributions.charts.chart_mixture import ChartMixture, kept_shares
from topogen.distributions.charts.fine_atlas import fine_atlas
from topogen.errors import CheckpointError, InvalidInputError, NotSupportedError
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.shapes import Circle, Sphere, get
from topogen.model import Model
from topogen.points import read, write


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def north(n: int = 600) -> torch.Tensor:
    """Points of the sphere, more of them in the north."""
    points = Sphere().sample(6 * n, seeded(0))
    return points[torch.rand(6 * n, generator=seeded(1), dtype=torch.float64) < (1 + points[:, 2]) / 2][:n]


def arc(n: int = 300) -> torch.Tensor:
    """Points of the circle, more of them in the east."""
    points = Circle().sample(6 * n, seeded(2))
    return points[torch.rand(6 * n, generator=seeded(3), dtype=torch.float64) < (2 + points[:, 0]) / 3][:n]


@pytest.fixture(scope="module")
def given():
    return topogen.fit(north(), manifold=Sphere(), density="charts", seed=0, quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, given):
    home = tmp_path_factory.mktemp("charts")
    write(home / "cloud.npy", north())
    write(home / "arc.npy", arc())
    (home / "mine.py").write_text("def south(x):\n    return 4 * x[:, 2]\n")
    given.save(home / "model")
    return home


def assert_same(first: Model, second: Model, x: torch.Tensor) -> None:
    """Densities and samples to the last bit."""
    assert torch.equal(first.log_prob(x), second.log_prob(x))
    assert torch.equal(first.sample(50, seeded(5)), second.sample(50, seeded(5)))


def test_a_saved_mixture_is_the_same_to_the_last_bit(folder, given):
    loaded = topogen.load(folder / "model")
    assert_same(given, loaded, Sphere().sample(200, seeded(4)))
    assert loaded.notes == given.notes and loaded.distribution.covered == given.distribution.covered
    loaded.save(folder / "again")
    assert (folder / "again" / "model.json").read_text() == (folder / "model" / "model.json").read_text()


def test_the_density_follows_the_data_and_the_notes_say_how(given):
    poles = torch.tensor([[0, 0, 0.9], [0, 0, -0.9]], dtype=torch.float64)
    assert float(given.log_prob(poles).diff()) < -1
    assert float(given.sample(2000, seeded(6))[:, 2].mean()) == pytest.approx(float(north()[:, 2].mean()), abs=0.06)
    uniform = Sphere().sample(20_000, seeded(7))
    assert float(given.log_prob(uniform).exp().mean()) * Sphere().volume == pytest.approx(1, abs=0.02)
    notes = " ".join(given.notes)
    assert all(word in notes for word in ("weights of", "charts of radius", "held-out NLL", "data points are in no chart"))


def test_score_says_what_the_normalisation_rests_on(folder, capsys):
    off = torch.cat([north(20), torch.zeros(2, 3, dtype=torch.float64)])
    write(folder / "off.npy", off)
    assert main(["score", f"{folder}/model", f"{folder}/off.npy", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    density = topogen.load(folder / "model").log_prob(off)
    assert found["mean_log_density"] == pytest.approx(float(density[:20].mean()))
    assert (found["scored"], found["unprojected"], found["zero_density"], found["distribution"]) == (20, 2, 0, "ChartMixture")
    assert found["covered"]["value"] == pytest.approx(1, abs=1e-12) and found["charts"] == topogen.load(folder / "model").distribution.atlas.count
    assert main(["score", f"{folder}/model", f"{folder}/off.npy", "-o", f"{folder}/scores.csv"]) == 3
    assert "the first is row 20" in capsys.readouterr().err
    assert main(["score", f"{folder}/model", f"{folder}/cloud.npy", "-o", f"{folder}/scores.csv"]) == 0
    assert "normalised by" in capsys.readouterr().out
    assert torch.allclose(read(folder / "scores.csv").squeeze(1), topogen.load(folder / "model").log_prob(north()))


def test_points_where_the_density_is_zero_are_counted_as_such(tmp_path, capsys):
    shape = Sphere()
    atlas = fine_atlas(shape, shape.sample(4000, seeded(8)), (40,))
    weights = (atlas.charts.centre[:, 2] > 0).double()
    Model(shape, ChartMixture(atlas, weights), north(100)).save(tmp_path / "half")
    write(tmp_path / "poles.csv", torch.tensor([[0, 0, 1.0], [0, 0, -1.0]], dtype=torch.float64))
    assert main(["score", f"{tmp_path}/half", f"{tmp_path}/poles.csv", "--columns", "0-2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["scored"], found["unprojected"], found["zero_density"]) == (1, 0, 1)


def test_sample_with_a_users_energy_moves_the_mass(folder):
    assert main(["sample", f"{folder}/model", "-n", "300", "-o", f"{folder}/tilted.csv", "--energy", f"{folder}/mine.py:south"]) == 0
    drawn = read(folder / "tilted.csv")
    assert float(drawn[:, 2].mean()) < -0.2 and float((drawn.norm(dim=1) - 1).abs().max()) < 1e-8


def test_the_topology_is_judged_on_uniform_samples(given):
    found = topogen.verify(given, expect="sphere", seed=0)
    assert found.exit_code == 0, found.to_text()


@pytest.mark.parametrize("manifold", ["implicit", "atlas"])
def test_learned_by_the_command_and_loaded_again(folder, capsys, manifold):
    target = folder / manifold
    assert main(["fit", f"{folder}/arc.npy", "-o", f"{target}", "--density", "charts", "--manifold", manifold, "--steps", "200", "--quiet"]) == 0
    assert "charts of radius" in capsys.readouterr().out
    model = topogen.load(target)
    assert isinstance(model.distribution, ChartMixture) and isinstance(model.manifold, Atlas) == (manifold == "atlas")
    assert model.distribution.atlas.sheet is (model.manifold.sheet if manifold == "atlas" else model.manifold)
    angle = 2 * math.pi * (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    density = model.log_prob(torch.stack([angle.cos(), angle.sin()], 1)).exp()
    assert float(density.mean()) * 2 * math.pi == pytest.approx(1, abs=0.02)
    assert float(density[angle.cos() > 0].mean() / density[angle.cos() < 0].mean()) > 1.4
    assert main(["sample", f"{target}", "-n", "20", "-o", f"{folder}/{manifold}.csv"]) == 0
    assert torch.allclose(read(folder / f"{manifold}.csv"), model.sample(20, seeded(0)))
    assert main(["score", f"{target}", f"{folder}/arc.npy", "--json"]) == 0


@pytest.mark.parametrize("own", [False, True], ids=["shared sheet", "own sheets"])
def test_flows_inside_charts_and_shares_are_saved(tmp_path, own):
    shape = Circle()
    shared = fine_atlas(shape, shape.sample(3000, seeded(9)), (6,), factor=1.8)
    atlas = Atlas(shared.charts, None, points=shared.points) if own else shared
    flow = BallFlow(6, 1, width=8, code=4, generator=seeded(10)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=parameter.dtype, generator=seeded(11)))
    kept, error = kept_shares(atlas, flow, seeded(12), draws=600)
    mixture = ChartMixture(atlas, torch.arange(1, 7).double(), base=flow.requires_grad_(False), kept=kept, kept_error=error)
    model = Model(atlas if own else shape, mixture, arc(50))
    model.save(tmp_path / "flow")
    loaded = topogen.load(tmp_path / "flow")
    assert isinstance(loaded.distribution.base, BallFlow) and torch.equal(loaded.distribution.kept, kept)
    assert_same(model, loaded, Circle().sample(100, seeded(13)))


def test_an_altered_file_is_refused(folder):
    document = json.loads((folder / "model" / "model.json").read_text())
    document["distribution"]["config"]["sheet"] = "other"
    (folder / "altered").mkdir()
    for path in (folder / "model").glob("*.safetensors"):
        (folder / "altered" / path.name).write_bytes(path.read_bytes())
    (folder / "altered" / "model.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="distribution cannot be built"):
        topogen.load(folder / "altered")


def test_a_mixture_on_another_manifold_is_not_saved(given, tmp_path):
    with pytest.raises(NotSupportedError, match="another manifold"):
        Model(Sphere(), given.distribution, given.anchors).save(tmp_path / "no")


def test_wrong_arguments_are_named(folder, capsys):
    with pytest.raises(NotSupportedError, match="density: charts is made for dimensions 1 to 3, found 4"):
        topogen.fit(torch.rand(30, 5), manifold=four_dimensional(), density="charts")
    with pytest.raises(InvalidInputError, match="charts"):
        topogen.fit(north(50), manifold=Sphere(), density="chart")
    with pytest.raises(InvalidInputError, match="at least 20"):
        topogen.fit(north(12), manifold=Sphere(), density="charts")
    assert main(["fit", f"{folder}/arc.npy", "-o", f"{folder}/x", "--density", "flowers"]) == 2
    assert "invalid choice" in capsys.readouterr().err


def four_dimensional():
    from topogen.manifolds.implicit.implicit import ImplicitManifold

    return ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 4, 5)


def test_same_seed_same_bits():
    first, second = (topogen.fit(arc(), manifold=get("circle"), density="charts", seed=3, quiet=True) for _ in range(2))
    assert_same(first, second, arc(40))
