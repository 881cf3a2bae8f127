"""Fitting diffusions and flows: resuming, contexts, components, and what is refused."""

import pytest
import torch
from fields_on_shapes import FITS, SMALL, fitted, on_circle, seeded

from topogen.distributions.diffusion.fit_heat_kernel import heat_kernel_of_data
from topogen.distributions.diffusion.reverse import reverse_walk
from topogen.distributions.fields.components import SampledManifold, UniformComponents
from topogen.distributions.fields.prepare import field_settings, prepare
from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold, shapes
from topogen.manifolds.local_polynomial import LocalPolynomialManifold
from topogen.manifolds.shapes import Torus, TwoSpheres

KINDS = ("diffusion", "flow")


class Killed(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_resumes_to_the_same_bits(kind, tmp_path, monkeypatch):
    whole = fitted(kind, steps=64, n=600)
    file, writes = tmp_path / "checkpoint", []
    from topogen.training import trainer

    write = trainer.write_checkpoint

    def killing(path, state):
        write(path, state)
        writes.append(path)
        if len(writes) == 6:
            raise Killed

    monkeypatch.setattr(trainer, "write_checkpoint", killing)
    with pytest.raises(Killed):
        fitted(kind, steps=64, n=600, checkpoint=file)
    resumed = fitted(kind, steps=64, n=600, checkpoint=file)
    state, expected = (r.distribution.field.state_dict() for r in (resumed, whole))
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert resumed.training.history == whole.training.history


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_learned(kind):
    x = on_circle(2000, 3)
    labels = (x[:, 0] > 0.5).long()
    circle = shapes.get("circle")
    found = FITS[kind](x, circle, context=labels, sizes=SMALL, settings=field_settings(600), generator=seeded(), quiet=True).distribution
    one = found.sample((500,), seeded(1), context=torch.tensor([0.0, 1.0]))
    other = found.sample((500,), seeded(1), context=torch.tensor([1.0, 0.0]), guidance=1.5)
    assert float((one[:, 0] > 0.4).double().mean()) > 0.85 > 0.15 > float((other[:, 0] > 0.6).double().mean())
    told = found.log_prob(one[:100], context=torch.tensor([0.0, 1.0])).mean()
    assert float(told) > float(found.log_prob(one[:100]).mean())
    with pytest.raises(InvalidInputError, match=r"context: expected \(2,\)"):
        found.sample((5,), context=torch.zeros(3))


@pytest.mark.parametrize("kind", KINDS)
def test_components_keep_the_weights_of_the_data(kind):
    spheres = shapes.get("two_spheres")
    x = spheres.sample(4000, seeded(1))
    ground = prepare(x, spheres, generator=seeded()).ground
    lone = ground.component(x) == 0
    data = torch.cat([x[lone][:900], x[~lone][:100]])
    found = FITS[kind](data, spheres, ground=ground, sizes=SMALL, settings=field_settings(60), generator=seeded(), quiet=True)
    drawn = found.distribution.sample((2000,), seeded(2))
    share = float((ground.component(drawn) == 0).double().mean())
    assert share == pytest.approx(0.9, abs=0.04)
    assert any("components: 2" in note for note in found.notes)
    if kind == "diffusion":
        towards = x[~lone].mean(0) - x[lone].mean(0)
        led = reverse_walk(found.distribution, 300, steps=10, energy=lambda y: -2 * (y @ towards) / towards.norm(), generator=seeded(3))
        assert float((ground.component(led) == 1).double().mean()) > 0.8  # no walk comes from one to the other


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_on_the_manifold_and_not_on_its_table(kind):
    weights = torch.tensor([1.0, 1.0, 4.0], dtype=torch.float64)
    ellipsoid = ImplicitManifold(lambda x: (x.square() @ weights.to(x.dtype) - 1).unsqueeze(1) / 2, 2, 3)
    pool = ellipsoid.project(shapes.get("sphere").sample(3000, seeded(1))).points
    ground = SampledManifold(ellipsoid, pool, 9.0, torch.zeros(3000, dtype=torch.int64))
    found = FITS[kind](pool[:500], ellipsoid, ground=ground, sizes=SMALL, settings=field_settings(16), generator=seeded(), quiet=True).distribution
    assert isinstance(found.fast, LocalPolynomialManifold)
    x = found.sample((300,), seeded(1))
    off = [float((y.square() @ weights - 1).abs().max()) for y in (x, found.fast.project(x).points)]
    assert off[0] < 1e-7 < 1e-5 < off[1]


def test_where_modes_tell_nothing_the_base_is_uniform():
    x, circle = on_circle(600, 3), shapes.get("circle")
    few = SampledManifold(circle, circle.sample(80, seeded(1)), 2 * torch.pi)
    assert heat_kernel_of_data(prepare(x, circle, ground=few, generator=seeded()), 0.0) is None
    assert heat_kernel_of_data(prepare(x, circle, context=x.float(), generator=seeded()), 0.0) is None
    found = FITS["diffusion"](x, circle, context=x.float(), sizes=SMALL, settings=field_settings(16), generator=seeded(), quiet=True).distribution
    assert isinstance(found.base, UniformComponents) and found.times[1] > 1
    assert isinstance(FITS["flow"](x, circle, ground=few, sizes=SMALL, settings=field_settings(16), quiet=True).distribution.base, UniformComponents)


def test_what_cannot_be_learned_from_is_refused():
    circle = shapes.get("circle")
    good = on_circle(200, 3)
    with pytest.raises(InvalidInputError, match="are farther than"):
        prepare(torch.cat([good, 3 * good]), circle, generator=seeded())
    with pytest.raises(InvalidInputError, match="at least 20 points"):
        prepare(good[:10], circle, generator=seeded())
    with pytest.raises(InvalidInputError, match="context: expected integer labels"):
        prepare(good, circle, context=torch.zeros(3, 2), generator=seeded())
    with pytest.raises(InvalidInputError, match="held_out: points"):
        prepare(good, circle, context=torch.zeros(200, 2), held_out=good, generator=seeded())


def test_data_rougher_than_a_surface_of_small_reach_are_not_left_out():
    """Off a torus of reach .1 by .07, which is above half of it, and by .3."""
    torus = Torus(1.0, 0.1)
    x = torus.sample(500, seeded())
    outwards = x - torch.nn.functional.normalize(x * x.new_tensor([1.0, 1.0, 0.0]), dim=1)
    near, far = x + 0.7 * outwards, x[:40] + 3 * outwards[:40]
    found = prepare(torch.cat([near, far]), torus, generator=seeded())
    assert len(found.learn) + len(found.judge) == 500
    assert "40 of 540 points are far" in " ".join(found.notes)


def test_how_far_is_far_does_not_grow_with_the_distance_of_components():
    spheres = TwoSpheres(0.2, 10.0)
    x = spheres.sample(400, seeded())
    centre = 10 * torch.nn.functional.pad(x[:, :1].sign(), (0, 2))
    with pytest.raises(InvalidInputError, match="are farther than"):
        prepare(centre + 4 * (x - centre), spheres, generator=seeded())


def test_clusters_are_told_from_smooth_densities():
    circle = shapes.get("circle")
    smooth = on_circle(2000, 3)
    angle = 2 * torch.pi * torch.rand(100, 1, generator=seeded(), dtype=torch.float64) + 1e-3 * torch.randn(100, 20, generator=seeded(1), dtype=torch.float64)
    knots = torch.stack([angle.flatten().cos(), angle.flatten().sin()], 1)
    found = [prepare(x, circle, generator=seeded()).clustered for x in (smooth, smooth[:50], knots)]
    assert found == [False, False, True]


def test_a_few_far_points_are_left_out_and_told():
    circle = shapes.get("circle")
    found = prepare(torch.cat([on_circle(300, 3), 3 * on_circle(20, 4)]), circle, generator=seeded())
    assert any("20 of 320 points are far" in note for note in found.notes)
    assert len(found.learn) + len(found.judge) == 300
