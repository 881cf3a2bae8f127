"""Pictures of densities are written, coloured where they are to be, and refuse what they cannot draw."""

import sys

import pytest
import torch

import topogen
from topogen.distributions.diffusion.reverse import reverse_walk
from topogen.distributions.fields.prepare import field_settings
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError, MissingDependencyError
from topogen.manifolds import shapes
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.model import Model
from topogen.report import density as module
from topogen.report.density import draw_density, draw_walk
from topogen.report.run import run
from topogen.training.trainer import Settings


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on_arc(n: int) -> torch.Tensor:
    """A circle with most of its points around (1, 0)."""
    angle = torch.randn(n, generator=seeded(1), dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], 1)


@pytest.fixture(scope="module")
def diffused():
    return topogen.fit(on_arc(400), shapes.get("circle"), "diffusion", density_settings=field_settings(64), quiet=True)


def pixels(path):
    image = pytest.importorskip("matplotlib.image")
    return image.imread(path)[..., :3]


def coloured_alike(path, colour, tolerance=0.12) -> int:
    return int((abs(pixels(path) - torch.tensor(colour).numpy()).max(-1) < tolerance).sum())


def test_a_density_on_a_curve(diffused, tmp_path):
    pytest.importorskip("matplotlib")
    before = on_arc(400)
    draw_density(tmp_path / "a.png", diffused, before)
    draw_density(tmp_path / "b.png", diffused, before)
    assert torch.equal(before, on_arc(400))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    # Both ends of the colours are there: the empty side is dark, the middle of the arc is bright.
    assert coloured_alike(tmp_path / "a.png", [0.27, 0.0, 0.33]) > 50 and coloured_alike(tmp_path / "a.png", [0.99, 0.91, 0.14]) > 50


def test_where_there_are_no_data_is_coloured_too(diffused):
    """Points are those of the equilibrium, a quarter of which lies in the half turn without data."""
    drawn = module._pool(diffused, diffused.sample(100, seeded()))
    assert 0.4 < float((drawn[:, 0] < 0).double().mean()) < 0.6


def test_a_surface_is_coloured_as_a_mesh(tmp_path):
    pytest.importorskip("matplotlib")
    sphere = ImplicitManifold(lambda x: x.square().sum(-1, keepdim=True) - 1, dim=2, ambient_dim=3)
    points = shapes.get("sphere").sample(500, generator=seeded())
    model = Model(sphere, Uniform(sphere, points=points, generator=seeded()), points)
    vertices, faces = module._surface(model, points, None)
    assert faces.shape[1] == 3 and float((vertices.norm(dim=1) - 1).abs().max()) < 1e-2
    draw_density(tmp_path / "a.png", model, points)
    assert pixels(tmp_path / "a.png").std() > 0.05


def test_many_dimensions_are_projected(tmp_path):
    pytest.importorskip("matplotlib")
    torus = shapes.FlatTorus()
    points = torus.sample(300, generator=seeded())
    draw_density(tmp_path / "a.png", Model(torus, Uniform(torus), points), points)
    assert pixels(tmp_path / "a.png").std() > 0.05


def test_ranges_end_below_the_top_and_skip_what_is_not_on_the_manifold():
    low, high = module._range(torch.tensor([0.0, -2.0, -100.0, -torch.inf]))
    assert high == 0 and low == pytest.approx(-module.DEPTH)
    with pytest.raises(InvalidInputError, match="model: its density is 0"):
        module._range(torch.full((3,), -torch.inf))


def test_a_walk_is_a_strip(diffused, tmp_path):
    pytest.importorskip("matplotlib")
    stages = reverse_walk(diffused.distribution, 200, steps=12, keep=5, generator=seeded())
    assert stages.shape == (6, 200, 2)
    draw_walk(tmp_path / "walk.png", stages)
    height, width, _ = pixels(tmp_path / "walk.png").shape
    assert width > 4 * height


@pytest.mark.parametrize("stages", [torch.zeros(3, 2), torch.zeros(2, 0, 3), torch.full((2, 4, 3), torch.nan)])
def test_stages_are_checked(stages, tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(InvalidInputError, match="stages: expected finite"):
        draw_walk(tmp_path / "walk.png", stages)


def test_points_of_another_dimension_are_refused(diffused, tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(InvalidInputError, match=r"points: the model lies in R\^2"):
        draw_density(tmp_path / "a.png", diffused, torch.zeros(5, 3))


def test_without_matplotlib(diffused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="report"):
        draw_density(tmp_path / "a.png", diffused, on_arc(50))
    with pytest.raises(MissingDependencyError, match="report"):
        draw_walk(tmp_path / "a.png", torch.zeros(2, 3, 2))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "pictures"), [("diffusion", {"density.png", "walk.png"}), ("flow", {"density.png"})])
def test_a_run_draws_its_density(kind, pictures, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("topogen.report.run.WALK_STEPS", 12)
    settings = {"settings": Settings(steps=200), "density_settings": field_settings(32)}
    outcome = run(shapes.get("circle").sample(300, generator=seeded()), tmp_path / "run", density=kind, n_samples=500, **settings)
    assert pictures == {path.name for path in (tmp_path / "run").glob("*.png")} - {"figure.png"}
    assert outcome.to_dict()["volume"]["value"] == pytest.approx(2 * torch.pi, rel=0.02)
