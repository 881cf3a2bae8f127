"""A learned manifold speaks for its data only where these lie on it, it lies along them, and both are closer than its reach."""

import numpy as np
import pytest
import torch
from torch import Tensor

from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Sphere, Torus, get
from topogen.verification import Verdict, verify
from topogen.verification.evidence.fidelity import Noise, ProjectedData, fidelity
from topogen.verification.verdict import Result


def drawn(name: str, n: int, seed: int, noise: float = 0.0) -> Tensor:
    shape, generator = get(name), torch.Generator().manual_seed(seed)
    points = shape.sample(n, generator=generator)
    return points + noise * shape.diameter * torch.randn(points.shape, generator=generator, dtype=points.dtype)


def answers(result: Result) -> list[bool | None]:
    return [claim.holds for claim in result.claims if claim.key == "fidelity"]


class Model:
    """What `verify` takes for a model: a manifold and a sampler."""

    def __init__(self, name: str, factor: float = 1.0) -> None:
        self.manifold = get(name) if factor == 1.0 else scaled(factor)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.manifold.sample(n, generator=generator)


def scaled(radius: float) -> Sphere:
    class Scaled(Sphere):
        def sample(self, n: int, *, generator: torch.Generator | None = None, dtype: torch.dtype | None = None) -> Tensor:
            return radius * super().sample(n, generator=generator, dtype=dtype)

        def _project(self, x: Tensor):  # type: ignore[no-untyped-def]
            found = super()._project(x)
            return found._replace(points=radius * found.points)

    return Scaled()


WRONG = [
    ("sphere", "torus"), ("sphere", "two_spheres"), ("two_spheres", "sphere"), ("torus", "sphere"), ("torus", "genus_two"), ("genus_two", "torus"),
    ("flat_torus", "klein_bottle"), ("klein_bottle", "flat_torus"), ("projective_plane", "klein_bottle"), ("trefoil_knot", "linked_circles"),
    ("linked_circles", "trefoil_knot"), ("torus", "linked_circles"), ("linked_circles", "torus"), ("trefoil_knot", "torus"),
]  # fmt: skip


@pytest.mark.parametrize("model, data", WRONG)
def test_wrong_models_are_never_confirmed(model, data):
    for seed in range(2):
        found = verify(get(model), against=drawn(data, 150, seed), fill=True, n_samples=2000)
        assert found.verdict is not Verdict.CONFIRMED
        assert False in answers(found) or found.against_betti != found.subject_betti


@pytest.mark.parametrize("model, data", WRONG)
def test_gross_faults_are_refuted(model, data):
    """By homology where it is decided statistically, else because the data are elsewhere: that needs no homology at all."""
    found = verify(Model(model), against=drawn(data, 2000, 0), n_samples=2000)
    assert found.verdict is Verdict.REFUTED
    assert found.label == "statistical"


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("n", [300])
@pytest.mark.parametrize("name", ["circle", "trefoil_knot", "sphere", "torus", "klein_bottle", "projective_plane"])
def test_right_models_are_confirmed_from_few_points(name, n, noise):
    found = verify(get(name), against=drawn(name, n, 0, noise), fill=True)
    assert found.verdict is Verdict.CONFIRMED
    assert found.label == "heuristic"


def test_the_verdict_says_which_part_is_the_data_s():
    found = verify(get("torus"), against=drawn("torus", 300, 0), fill=True)
    assert "the data themselves decide" in found.summary
    assert "?" in found.summary


def test_a_sphere_through_a_torus_is_left_open_with_the_reason():
    """150 points of a torus decide nothing, a unit sphere is a quarter away from them on average."""
    generator = torch.Generator().manual_seed(0)
    found = verify(Sphere(), against=Torus().sample(150, generator=generator), fill=True)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "the subject has the homology of a sphere; the data do not decide" in found.summary


def test_a_model_beside_its_data_is_no_model_of_them():
    """The same homology elsewhere confirms a shape, which claims nothing of the data, and refutes a model, which does."""
    data = drawn("sphere", 3000, 0) + 5.0
    assert answers(verify(Sphere(), against=data)) == []
    assert verify(Model("sphere"), against=data).verdict is Verdict.REFUTED
    assert verify(Model("sphere"), against=data - 5.0).verdict is Verdict.CONFIRMED


@pytest.mark.parametrize("share, gross", [(0.0, None), (0.004, False), (0.05, True)])
def test_a_part_of_the_data_off_the_model_keeps_it_from_being_confirmed(share, gross):
    """A horn of the data that the model cuts off: few points leave it open, many refute it."""
    data = drawn("sphere", 5000, 0)
    horn = data[:, 2].topk(int(share * len(data))).indices
    data[horn] *= 1.0 + torch.linspace(0.1, 0.8, len(horn), dtype=data.dtype).unsqueeze(1)
    found = verify(Model("sphere"), against=data, scale=0.15)
    assert found.verdict is (Verdict.CONFIRMED if gross is None else Verdict.REFUTED if gross else Verdict.INCONCLUSIVE)


def test_a_sheet_of_the_model_far_from_all_data_is_seen():
    """Two concentric circles as a model, data on one of them."""
    manifold = ImplicitManifold(lambda x: (x.square().sum(-1, keepdim=True) - 1) * (x.square().sum(-1, keepdim=True) - 4), 1, ambient_dim=2)
    angle = torch.linspace(0, 6.283, 400, dtype=torch.float64)
    both = torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([1.0, 2.0], dtype=torch.float64).repeat(200).unsqueeze(1)

    class Both:
        def __init__(self) -> None:
            self.manifold = manifold

        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            return both[torch.randint(len(both), (n,), generator=generator)]

    found = verify(Both(), against=both[::2], n_samples=2000)
    assert found.verdict is not Verdict.CONFIRMED
    assert answers(found)[:2] == [True, False]


class Known(ImplicitManifold):
    """A surface in R^3 that knows its Betti numbers, with samples of a shape: no lack of samples keeps it from being confirmed."""

    def __init__(self, constraint, shape, betti):  # type: ignore[no-untyped-def]
        super().__init__(constraint, 2, ambient_dim=3)
        self.shape, self.numbers, self.manifold = shape, betti, self

    def betti(self, field: int = 2) -> tuple[int, ...]:
        return self.numbers

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.shape.sample(n, generator=generator)


def sphere_model(radius: float) -> Known:
    class AsModel:
        manifold = Known(lambda x: x.norm(dim=-1, keepdim=True) - radius, Sphere(radius=radius), (1, 0, 1))
        sample = manifold.sample

    return AsModel()  # type: ignore[return-value]


@pytest.mark.parametrize("tube", [0.25, 0.35, 0.5])
def test_a_sphere_through_few_points_of_a_torus_is_not_confirmed(tube):
    """Spacing explains no more than the height of an arc over it: a misfit of the whole spacing is none of a model that passes through its points."""
    points = Torus(1.0, tube).sample(100, torch.Generator().manual_seed(0))
    found = verify(sphere_model(float(points.norm(dim=1).mean())), against=points, fill=True, n_samples=2000)
    assert found.verdict is not Verdict.CONFIRMED
    assert answers(found)[0] is False


@pytest.mark.parametrize("inner, outer", [(0.95, 1.05), (0.85, 1.15), (1.0, 1.15)])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_sheet_for_two_is_not_confirmed(inner, outer, noise):
    """Through the middle of two concentric spheres, or along one of them: their distance passes for noise in its size, not in its law."""
    generator = torch.Generator().manual_seed(0)
    points = torch.cat([inner * Sphere().sample(60, generator), outer * Sphere().sample(60, generator)])
    points = points + noise * 2 * torch.randn(points.shape, generator=generator, dtype=points.dtype)
    found = verify(sphere_model(1.0), against=points, fill=True, n_samples=2000)
    assert found.verdict is not Verdict.CONFIRMED
    assert answers(found)[0] is False


def test_a_ghost_that_no_sample_reaches_is_seen():
    """A hundred points are too few to call a small sphere within theirs a ghost; it is a part of the manifold all the same."""
    radius = 0.3

    class Haunted:
        manifold = Known(lambda x: (x.norm(dim=-1, keepdim=True) - 1) * (x.norm(dim=-1, keepdim=True) - radius), Sphere(), (1, 0, 1))
        sample = manifold.sample

    points = Sphere().sample(100, torch.Generator().manual_seed(0))
    assert verify(sphere_model(1.0), against=points, fill=True, n_samples=2000).verdict is Verdict.CONFIRMED
    assert verify(Haunted(), against=points, fill=True, n_samples=2000).verdict is not Verdict.CONFIRMED


def test_a_part_without_data_refutes_where_an_independent_draw_would_meet_it():
    """Half of the sphere has no point: refuted where the density is stated to be even; without, and for rows in order along a trajectory, nothing is."""
    points = Sphere().sample(4000, torch.Generator().manual_seed(0))
    half = points[points[:, 2] > 0]
    assert verify(sphere_model(1.0), against=half, n_samples=2000).verdict is Verdict.INCONCLUSIVE
    found = verify(sphere_model(1.0), against=half, n_samples=2000, density_ratio=2.0)
    assert (found.verdict, found.label) == (Verdict.REFUTED, "statistical")
    claim = next(claim for claim in found.claims if claim.text.startswith("the subject lies along"))
    assert "at most 2 times the smallest" in claim.assumption
    height = torch.linspace(0, 1, 4000, dtype=torch.float64)
    ring, turn = (1 - height.square()).sqrt(), 120 * height
    path = torch.stack([ring * turn.cos(), ring * turn.sin(), height], 1)
    along = verify(sphere_model(1.0), against=path, n_samples=2000, density_ratio=2.0)
    assert {claim.label for claim in along.claims if claim.key == "fidelity"} == {"heuristic"}


@pytest.mark.parametrize("kappa", [1.0, 3.0, 10.0])
def test_points_that_thin_out_refute_no_true_model(kappa):
    """Densities that fall as far as they like, no ratio stated: none of 60 clouds; the share of refuted true models is below 5 % with 95 % confidence."""
    rng, circle = np.random.default_rng(0), get("circle")
    for n in (200, 1000):
        for seed in range(30):
            angle = torch.from_numpy(rng.vonmises(0, kappa, n))
            points = torch.stack([angle.cos(), angle.sin()], 1)
            generator = torch.Generator().manual_seed(seed)
            samples = circle.sample(2000, generator=generator)
            data = ProjectedData(points, points, points, torch.zeros(n, dtype=torch.float64))
            found = fidelity(circle, samples, samples, 0, data, Noise(0.0, 1))
            assert not [claim for claim in (found.on, found.along) if claim.holds is False and claim.label == "statistical"]
