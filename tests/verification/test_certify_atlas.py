"""Certificates of atlases: closed-form truths, planted defects, models through the command."""

import json

import pytest
import torch

import topogen
from topogen.command import main as command
from topogen.errors import InvalidInputError, NotSupportedError
from topogen.learning.atlas.fit import learn_atlas
from topogen.manifolds import Atlas, GraphCharts
from topogen.manifolds.shapes import Circle, FlatTorus, LinkedCircles, MoebiusBand, Sphere, Torus
from topogen.model import Model
from topogen.report.figures import draw_atlas
from topogen.training.trainer import Settings
from topogen.verification import certify

TRUTHS = [
    (Circle(), {2: (1, 1), 3: (1, 1)}, True),
    (LinkedCircles(), {2: (2, 2), 3: (2, 2)}, True),
    (Sphere(2), {2: (1, 0, 1), 3: (1, 0, 1)}, True),
    pytest.param(Torus(), {2: (1, 2, 1), 3: (1, 2, 1)}, True, marks=pytest.mark.slow),
    pytest.param(FlatTorus(2), {2: (1, 2, 1), 3: (1, 2, 1)}, True, marks=pytest.mark.slow),
    pytest.param(MoebiusBand(), {2: (1, 1, 0), 3: (1, 1, 0)}, False, marks=pytest.mark.slow),
]


def atlas_of(shape, samples=None):
    generator = torch.Generator().manual_seed(0)
    return learn_atlas(shape, shape.sample(100, generator=generator), samples=samples, generator=generator).atlas


@pytest.mark.parametrize(("shape", "betti", "orientable"), TRUTHS, ids=lambda value: getattr(value, "name", ""))
def test_the_certificate_of_a_shape(shape, betti, orientable):
    found = certify(atlas_of(shape), shape.sample(3000, generator=torch.Generator().manual_seed(1)))
    assert found.nerve_betti == betti and found.orientable is orientable
    assert found.nerve.good and found.agrees and not found.dead and found.unheld == 0
    assert found.euler == sum((-1) ** k * b for k, b in enumerate(betti[2]))
    assert found.round_trip < 1e-6 and found.cocycle < 1e-6 and found.gap == 0
    assert found.reconstruction is not None and found.reconstruction[-1] < 1e-9
    assert abs(found.volume.value - shape.volume) < 4 * found.volume.standard_error + 1e-3 * shape.volume
    if found.gauss_bonnet is not None:
        assert abs(found.gauss_bonnet.value - found.euler) < 0.016
    assert bool(found.orientation.witness) is not orientable
    json.dumps(found.to_dict(), allow_nan=False)
    assert "all sources agree" in found.to_text()


def test_the_sign_of_a_frame_does_not_matter():
    """Half of the charts mirrored: the certificate stays what it was, because it is the cocycle that counts."""
    atlas = atlas_of(Sphere(2), samples=6000)
    charts = atlas.charts
    mirrored = charts.tangent.clone()
    mirrored[::2, :, 0] *= -1
    turned = GraphCharts(charts.centre, mirrored, charts.radius, extent=charts.extent)
    assert certify(Atlas(turned, Sphere(2), points=atlas.points), samples=6000).orientable is True


def test_a_missing_chart_is_seen():
    atlas = atlas_of(Circle())
    kept = torch.arange(1, atlas.count)
    half = Atlas(atlas.charts.subset(kept), Circle(), tau=atlas.tau[kept], points=atlas.points)
    found = certify(half)
    assert found.nerve_betti[2] == (1, 0), "an arc, not a circle"
    assert found.agrees is not True or found.samples_betti[2] == (1, 0)


def test_gaps_of_own_sheets_are_measured():
    x = Sphere(2).sample(8000, generator=torch.Generator().manual_seed(0))
    from topogen.learning.atlas.good_cover import chart_cover

    found = certify(chart_cover(x, 2, 24).atlas, samples=4000)
    assert 1e-4 < found.gap < 0.2 and found.cocycle > 0


def test_only_atlases_are_certified():
    with pytest.raises(InvalidInputError, match="manifold='atlas'"):
        certify(Sphere(2))
    with pytest.raises(NotSupportedError, match="dimensions 1 to 3"):
        learn_atlas(Sphere(4), Sphere(4).sample(100))
    with pytest.raises(InvalidInputError, match="charts"):
        learn_atlas(Circle(), Circle().sample(100), charts="many")


@pytest.fixture(scope="module")
def model() -> Model:
    x = Circle().sample(600, generator=torch.Generator().manual_seed(0))
    return topogen.fit(x, "atlas", seed=0, settings=Settings(steps=300), quiet=True)


def test_a_model_on_an_atlas_is_saved_and_comes_back(model, tmp_path):
    model.save(tmp_path / "m")
    again = topogen.load(tmp_path / "m")
    assert isinstance(again.manifold, Atlas) and again.manifold.count == model.manifold.count
    x = model.sample(50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.sample(50, generator=torch.Generator().manual_seed(1)), x)
    assert torch.equal(again.manifold.encode(x).z, model.manifold.encode(x).z)
    assert certify(again).to_dict() == certify(model).to_dict()


def test_inspect_of_a_model_prints_its_certificate(model, tmp_path, capsys):
    model.save(tmp_path / "m")
    assert command.main(["inspect", str(tmp_path / "m"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["certificate"]["orientable"] is True and document["certificate"]["nerve"]["betti"]["2"] == [1, 1]


def test_an_atlas_is_drawn(model, tmp_path):
    pytest.importorskip("matplotlib")
    draw_atlas(tmp_path / "atlas.png", model.manifold)
    assert (tmp_path / "atlas.png").stat().st_size > 10_000


def test_run_writes_the_certificate(tmp_path):
    cloud = tmp_path / "circle.csv"
    topogen.points.write(cloud, Circle().sample(500, generator=torch.Generator().manual_seed(0)))
    code = command.main(["run", str(cloud), "-o", str(tmp_path / "out"), "--manifold", "atlas", "--steps", "300", "-n", "2000", "--quiet"])
    assert code == 0
    found = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert found["agrees"] is True and found["points_betti"]["2"] == [1, 1]
    assert (tmp_path / "out" / "atlas.png").exists()
