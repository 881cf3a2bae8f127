"""Disc atlases: few charts that hold everything, with coordinates that come back and the right volume."""

import pytest
import torch

from topogen.distributions import Uniform
from topogen.errors import InvalidInputError
from topogen.learning.atlas.disc_atlas import disc_atlas
from topogen.manifolds.shapes import Circle, LinkedCircles, Sphere, Torus
from topogen.training.trainer import Settings


def discs(shape, steps=400, least=1):
    generator = torch.Generator().manual_seed(0)
    samples = shape.sample(4000, generator=generator)
    settings = Settings(steps=steps, batch_size=512, rate=5e-3, held_out=0.05, measure_every=200)
    return disc_atlas(samples, shape, least=least, settings=settings, generator=generator, quiet=True)


def test_a_circle_takes_two_discs():
    found = discs(Circle())
    assert found.atlas.count <= 3 and found.condition < 1.5
    fresh = Circle().sample(1000, generator=torch.Generator().manual_seed(1))
    at = found.atlas.encode(fresh)
    assert at.found.all()
    torch.testing.assert_close(found.atlas.decode(at.chart, at.z).points, fresh, rtol=0, atol=1e-8)
    volume = Uniform(found.atlas, seed=0).volume
    assert abs(volume.value - Circle().volume) < 4 * volume.standard_error + 1e-3 * Circle().volume


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "most"), [(Sphere(2), 6), (Torus(), 9), (LinkedCircles(), 6)], ids=lambda value: getattr(value, "name", ""))
def test_at_most_three_times_the_least_number_of_discs(shape, most):
    found = discs(shape, steps=2500)
    assert found.atlas.count <= most
    volume = Uniform(found.atlas, seed=0).volume
    assert abs(volume.value - shape.volume) < 4 * volume.standard_error + 5e-3 * shape.volume


def test_one_disc_that_runs_into_itself_is_seen():
    assert any("runs into itself" in objection for count, objection in discs(Circle()).tried if count == 1)


def test_too_many_is_said():
    with pytest.raises(InvalidInputError, match="more than 60 discs"):
        discs(Circle(), steps=1, least=60)


def test_a_number_of_steps_alone_keeps_the_rate_and_the_batches(monkeypatch):
    seen = []
    monkeypatch.setattr("topogen.learning.atlas.disc_atlas._learned", lambda discs, samples, sheet, settings, *rest: seen.append(settings) or found)
    monkeypatch.setattr("topogen.learning.atlas.disc_atlas._objection", lambda *_: "")
    found = object()
    assert disc_atlas(Circle().sample(500, torch.Generator().manual_seed(0)), Circle(), settings=Settings(steps=30)) is found
    assert (seen[0].steps, seen[0].rate, seen[0].batch_size) == (30, 5e-3, 1024)
