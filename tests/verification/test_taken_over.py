"""What was computed before is taken over and not computed again: samples of the subject, the inspection of the data; closest points only where they decide."""

import pytest
import torch

import topogen
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Circle, Torus
from topogen.verification import verify
from topogen.verification.distances import nearest_on, quantile, to_manifold
from topogen.verification.evidence import clouds
from topogen.verification.evidence.clouds import cloud_evidence
from topogen.verification.evidence.inputs import manifold_input


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Drawn:
    """A model that counts what it is asked for."""

    def __init__(self):
        self.manifold = self.distribution = Torus()
        self.asked = []

    def sample(self, n, generator=None):
        self.asked.append(n)
        return self.manifold.sample(n, generator=generator)


def test_samples_are_given_out_before_more_are_drawn():
    model, before = Drawn(), Torus().sample(100, generator=seeded())
    subject = manifold_input(model, None, seeded(), before)
    first, second, third = (subject.draw(n, seeded(1)) for n in (60, 60, 10))
    assert model.asked == [20, 10] and torch.equal(torch.cat([first, second])[:100], before) and len(second) == 60 and len(third) == 10


@pytest.fixture
def counted(monkeypatch):
    calls = []
    once = clouds.homology
    monkeypatch.setattr(clouds, "homology", lambda points, **options: calls.append(len(points)) or once(points, **options))
    return calls


def test_an_inspection_of_the_data_is_taken_over(counted):
    data = Circle().sample(800, generator=seeded()) + 0.01 * torch.randn(800, 2, generator=seeded(1), dtype=torch.float64)
    found = topogen.inspect(data)
    known = cloud_evidence("against", data, (2, 3), dim=1, generator=seeded(), inspection=found)
    assert not counted and known.betti == cloud_evidence("against", data, (2, 3), dim=1, generator=seeded()).betti == {2: (1, 1), 3: (1, 1)}
    assert len(counted) == 1


@pytest.mark.parametrize(
    "options", [{"dim": 2}, {"closed": True}, {"scale": 0.1}, {"fields": (2, 5)}, {"rows": 700}], ids=["dim", "closed", "scale", "fields", "another cloud"]
)
def test_an_inspection_that_asked_something_else_is_not(counted, options):
    data = Circle().sample(800, generator=seeded()) + 0.01 * torch.randn(800, 2, generator=seeded(1), dtype=torch.float64)
    found, options = topogen.inspect(data), dict(options)
    cloud_evidence("against", data[: options.pop("rows", 800)], options.pop("fields", (2, 3)), generator=seeded(), inspection=found, **options)
    assert counted


def test_a_verdict_with_an_inspection_is_the_one_without():
    data = Torus().sample(1500, generator=seeded())
    found = topogen.inspect(data, dim=2)
    with_it, without = verify(data, data, dim=2, inspection=found), verify(data, data, dim=2)
    assert with_it.verdict == without.verdict and with_it.against_betti == without.against_betti


class Counting(ImplicitManifold):
    """An ellipse that counts the points projected to their closest ones."""

    closest_points = 0

    def _project(self, x):
        type(self).closest_points += len(x) if self.closest else 0
        return super()._project(x)


def test_closest_points_are_looked_for_where_they_decide():
    ellipse = Counting(lambda x: (x**2 * torch.tensor([1.0, 4.0])).sum(-1, keepdim=True) - 1, dim=1, ambient_dim=2)
    points = torch.randn(1000, 2, generator=seeded(), dtype=torch.float64)
    points = ellipse.projx(points) + 0.05 * torch.randn(1000, 2, generator=seeded(1), dtype=torch.float64)
    whole = ellipse.project(points)
    distance = (points - whole.points).norm(dim=1)[whole.converged]
    before = Counting.closest_points
    claim = to_manifold(nearest_on(ellipse, points)[1])
    assert Counting.closest_points - before <= 60
    assert claim.evidence["max"] == pytest.approx(float(distance.max()), rel=1e-12)
    assert claim.evidence["q99"] == pytest.approx(quantile(distance, 0.99), rel=1e-12) and claim.evidence["mean"] == pytest.approx(
        float(distance.mean()), rel=0.01
    )
