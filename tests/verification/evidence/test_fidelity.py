"""A learned manifold speaks for its data only where these lie on it, it lies along them, and both are closer than its reach."""

import pytest
import torch
from torch import Tensor

from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Sphere, Torus, get
from topogen.verification import Verdict, verify
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
