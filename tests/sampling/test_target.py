"""What is sampled: values and gradients of U against closed forms and differences, walls, and inputs that cannot be used."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Torus
from topogen.sampling import Target

SPHERE = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 2, 3)
ELLIPSE = ImplicitManifold(lambda x: (x[:, :1] ** 2 / 9 + x[:, 1:] ** 2 - 1) / 2, 1, 2)


def cut(x):
    """A curve in R^3: a sphere cut by a paraboloid."""
    return torch.stack([x.square().sum(1) - 4, x[:, 2] - x[:, 0] ** 2 + x[:, 1] * 0.3], 1)


def doubled(x):
    """An ellipsoid by two outputs of rank one; singular values sqrt(5) |gradient| and 0."""
    f = x[:, :1] ** 2 / 4 + x[:, 1:2] ** 2 + x[:, 2:] ** 2 - 1
    return torch.cat([f, 2 * f], 1)


def drawn(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_energy_over_temperature():
    x = drawn(5, 3)
    assert torch.allclose(Target(SPHERE, lambda x: x[:, 0], temperature=4.0).potential(x), x[:, 0] / 4)
    assert torch.equal(Target(SPHERE).potential(x), torch.zeros(5, dtype=torch.float64))


def test_flat_is_the_uniform_law():
    assert Target(SPHERE).flat and Target(SPHERE, walls=lambda x: x[:, 0]).flat
    assert not Target(SPHERE, lambda x: x[:, 0]).flat and not Target(SPHERE, measure="coarea").flat
    _, gradient = Target(SPHERE).with_gradient(drawn(4, 3))
    assert not gradient.any()


def test_coarea_potential_is_the_log_of_the_gradient():
    t = torch.linspace(0, 6, 7, dtype=torch.float64)
    x = torch.stack([3 * t.cos(), t.sin()], 1)
    truth = ((x[:, 0] / 9) ** 2 + x[:, 1] ** 2).log() / 2
    assert torch.allclose(Target(ELLIPSE, measure="coarea").potential(x), truth, atol=1e-12)
    with_energy = Target(ELLIPSE, lambda x: x[:, 1], measure="coarea", temperature=2.0)
    assert torch.allclose(with_energy.potential(x), truth + x[:, 1] / 2, atol=1e-12)


def test_coarea_potential_of_an_overcomplete_constraint_keeps_r_singular_values():
    x = torch.nn.functional.normalize(drawn(6, 3), dim=1) * torch.tensor([2.0, 1, 1])
    gradient = x * torch.tensor([0.5, 2, 2])
    found = Target(ImplicitManifold(doubled, 2, 3), measure="coarea").potential(x)
    assert torch.allclose(found, (5**0.5 * gradient.norm(dim=1)).log(), atol=1e-12)


@pytest.mark.parametrize(
    "manifold",
    [ELLIPSE, ImplicitManifold(cut, 1, 3), ImplicitManifold(doubled, 2, 3)],
    ids=["regular", "two constraints", "overcomplete"],
)
@pytest.mark.parametrize("measure", ["hausdorff", "coarea"])
def test_gradient_agrees_with_differences(manifold, measure):
    """Central differences with h = 1e-5: error about 1e-9 relative."""
    target = Target(manifold, lambda x: (x[:, 0] * 1.3).sin() + x[:, 1] ** 2, measure=measure, temperature=0.7)
    x, h = drawn(6, manifold.ambient_dim, seed=1), 1e-5
    potential, gradient = target.with_gradient(x)
    assert torch.allclose(potential, target.potential(x))
    steps = torch.eye(manifold.ambient_dim, dtype=torch.float64) * h
    differences = torch.stack([(target.potential(x + e) - target.potential(x - e)) / (2 * h) for e in steps], 1)
    assert float(differences.abs().max()) > 0.1
    assert torch.allclose(gradient, differences, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("walls", [lambda x: x[:, 0], lambda x: torch.stack([x[:, 0], x[:, 0] + 5], 1)])
def test_outside_the_walls_the_potential_is_infinite(walls):
    x = torch.tensor([[0.6, 0.8, 0.0], [-0.6, 0.8, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    target = Target(SPHERE, lambda x: x[:, 1], walls=walls)
    potential, gradient = target.with_gradient(x)
    for found in (potential, target.potential(x)):
        assert torch.equal(found, torch.tensor([0.8, math.inf, 1.0], dtype=torch.float64))
    assert torch.equal(gradient[:, 1], torch.ones(3, dtype=torch.float64))
    assert target.inside(x).tolist() == [True, False, True]
    assert target.heights(x).shape[0] == 3 and Target(SPHERE).heights(x).shape == (3, 0)


def test_a_gate_is_a_wall():
    class Upper(torch.nn.Module):
        def forward(self, x, tangent_basis):
            return x[:, 2] > 0

    gated = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 2, 3, gate=Upper())
    x = torch.tensor([[0.0, 0.6, 0.8], [0.0, 0.6, -0.8]], dtype=torch.float64)
    assert Target(gated).potential(x).tolist() == [0, math.inf]


def test_inputs_are_not_changed_and_gradients_not_kept():
    x = drawn(4, 3).requires_grad_(True)
    before = x.detach().clone()
    potential, gradient = Target(SPHERE, lambda x: x[:, 0] ** 2).with_gradient(x)
    assert torch.equal(x.detach(), before) and x.grad is None
    assert not potential.requires_grad and not gradient.requires_grad
    assert not Target(SPHERE, lambda x: x[:, 0] ** 2).potential(x).requires_grad


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_temperatures_that_are_not_positive_are_refused(temperature):
    with pytest.raises(InvalidInputError, match="temperature"):
        Target(SPHERE, temperature=temperature)


def test_measures_are_named():
    with pytest.raises(InvalidInputError, match="measure.*'lebesgue'"):
        Target(SPHERE, measure="lebesgue")
    with pytest.raises(InvalidInputError, match="co-area"):
        Target(Torus(), measure="coarea")


@pytest.mark.parametrize(
    "energy",
    [
        lambda x: x,
        lambda x: x.sum(),
        lambda x: x[:-1, 0],
        lambda x: x[:, 0] > 0,
        lambda x: 1.0,
        lambda x: x.numpy()[:, 0],
        lambda x: x[:, 7],
        lambda x: x @ torch.ones(2, dtype=torch.float64),
    ],
    ids=["(n, D)", "scalar", "too short", "bool", "number", "array", "missing column", "wrong product"],
)
def test_energies_of_the_wrong_kind_are_named(energy):
    with pytest.raises(InvalidInputError, match="^energy"):
        Target(SPHERE, energy).check(drawn(4, 3))


def test_walls_of_the_wrong_kind_are_named():
    for walls in (lambda x: x.sum(), lambda x: x[:2], lambda x: x > 0):
        with pytest.raises(InvalidInputError, match="^walls"):
            Target(SPHERE, walls=walls).check(drawn(4, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"walls": lambda x: x[:, 0]},
        {"energy": lambda x: x[:, 0].log()},
        {"energy": lambda x: torch.where(x[:, 0] > 0, 0.0, math.inf)},
    ],
    ids=["walls", "NaN", "infinite"],
)
def test_starts_where_nothing_is_are_named(options):
    x = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [-1.0, 0, 0], [-1.0, 0, 0]], dtype=torch.float64)
    Target(SPHERE, **options).check(x[:2])
    with pytest.raises(InvalidInputError, match=r"start: chain 2 \(of 2 such\)"):
        Target(SPHERE, **options).check(x)


def by_numpy(x):
    return torch.from_numpy(x.detach().numpy()[:, 0].copy())


def strictly_by_numpy(x):
    return torch.from_numpy(x.numpy()[:, 0].copy())


@pytest.mark.parametrize("energy", [by_numpy, strictly_by_numpy, lambda x: x[:, 0].round().detach()], ids=["detached", "numpy", "rounded"])
def test_energies_that_torch_cannot_differentiate(energy):
    target = Target(SPHERE, energy)
    target.check(drawn(4, 3))
    assert target.potential(drawn(4, 3)).shape == (4,)
    for bad in (target, Target(SPHERE, energy, measure="coarea")):
        with pytest.raises(InvalidInputError, match="energy: not differentiable.*random_walk"):
            bad.with_gradient(drawn(4, 3))
