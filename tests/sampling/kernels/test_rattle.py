"""RATTLE: reversible, symplectic, on the manifold, nearly conserving the energy; reflections at walls are their own inverse."""

import math

import pytest
import torch

from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Torus
from topogen.sampling import Target
from topogen.sampling.kernels.moves import NormalFrame
from topogen.sampling.kernels.rattle import Rattle

CIRCLE = ImplicitManifold(lambda x: (x.square().sum(1, keepdim=True) - 1) / 2, 1, 2)
SPHERE = ImplicitManifold(lambda x: (x.square().sum(1, keepdim=True) - 1) / 2, 2, 3)
CYLINDER = ImplicitManifold(lambda x: (x[:, :2].square().sum(1, keepdim=True) - 1) / 2, 4, 5)
TORUS = ImplicitManifold(lambda x: ((x[:, :2].norm(dim=1) - 1) ** 2 + x[:, 2] ** 2 - 0.25).unsqueeze(1), 2, 3)


def normals(*size, seed):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def on_sphere(n, dim=3, seed=0):
    return torch.nn.functional.normalize(normals(n, dim, seed=seed), dim=1)


def on_cylinder(n):
    return torch.cat([on_sphere(n, 2), normals(n, 3, seed=5)], 1)


def quartic(x):
    return x.square().square().sum(1) / 4 + x[:, 0]


def launched(rattle, x, seed=1):
    """The state at x with a tangent Gaussian momentum."""
    state = rattle.begin(x)
    return state, rattle.mass**0.5 * rattle.mover.tangent(NormalFrame(state[2], state[3]), normals(*x.shape, seed=seed))


SYSTEMS = {
    "quartic on a cylinder": (CYLINDER, quartic, on_cylinder(100), "hausdorff"),
    "tilt on a torus": (TORUS, lambda x: 2 * x[:, 2] + x[:, 0], Torus(1.0, 0.5).sample(100, torch.Generator().manual_seed(2)), "hausdorff"),
    "co-area on a torus": (TORUS, lambda x: x[:, 2], Torus(1.0, 0.5).sample(100, torch.Generator().manual_seed(3)), "coarea"),
    "any manifold": (Torus(1.0, 0.5), lambda x: x[:, 2], Torus(1.0, 0.5).sample(50, torch.Generator().manual_seed(4)), "hausdorff"),
}


@pytest.mark.parametrize("name", list(SYSTEMS))
@pytest.mark.parametrize("n_steps", [1, 5, 20])
@pytest.mark.parametrize("inner", [1, 3])
def test_flipped_momenta_lead_back(name, n_steps, inner):
    """At least 95 % of the trajectories are made and return within 2e-8; positions and momenta obey the constraint to 1e-8."""
    if name == "any manifold" and (n_steps == 20 or inner == 3):
        n_steps, inner = min(n_steps, 5), 1
    manifold, energy, x, measure = SYSTEMS[name]
    rattle = Rattle(manifold, Target(manifold, energy, measure=measure), inner=inner, mass=1.5)
    state, p = launched(rattle, x)
    there = rattle.run(state, p, 0.05, n_steps)
    back = rattle.run(there.state, -there.momentum, 0.05, n_steps)
    made = ~there.stopped & ~back.stopped & ((there.state[0] - x).norm(dim=1) > 1e-3)
    assert float(made.double().mean()) >= 0.95
    y, q = there.state[0][made], there.momentum[made]
    assert float((back.state[0] - x)[made].norm(dim=1).max()) <= 2e-8
    assert float((back.momentum + p)[made].norm(dim=1).max()) <= 2e-6
    assert float((manifold.project(y).points - y).norm(dim=1).max()) <= 1e-8
    assert float((q - manifold.proju(y, q)).norm(dim=1).max()) <= 1e-8


def test_energy_does_not_drift():
    """Quartic potential on circle x R^3, h = .1, 200 steps: mean H of the second half within 1e-2 of that of the first, every trajectory made."""
    rattle = Rattle(CYLINDER, Target(CYLINDER, quartic))
    state, p = launched(rattle, on_cylinder(60))
    history = []
    for _ in range(200):
        motion = rattle.run(state, p, 0.1, 1)
        assert not bool(motion.stopped.any())
        state, p = motion.state, motion.momentum
        history.append(rattle.energy(state, p))
    first, second = torch.stack(history[:100]).mean(0), torch.stack(history[100:]).mean(0)
    assert float((second - first).mean().abs()) < 1e-2
    assert float((second - first).abs().max()) < 5e-2


def test_energy_error_is_of_second_order():
    """Halving h divides the error of H over a fixed time by 4."""
    rattle = Rattle(CYLINDER, Target(CYLINDER, quartic))
    state, p = launched(rattle, on_cylinder(60))
    before = rattle.energy(state, p)
    errors = [float((rattle.energy(m.state, m.momentum) - before).abs().mean()) for m in (rattle.run(state, p, 0.4 / k, k) for k in (4, 8))]
    assert 3 < errors[0] / errors[1] < 5


def test_free_motion_on_a_sphere_is_a_great_circle():
    """U = 0: the plane of x and p is kept, and so is |p|; the time to come round approaches 2 pi sqrt(mass) / |p|."""
    mass = 2.0
    rattle = Rattle(SPHERE, Target(SPHERE), mass=mass)
    x = on_sphere(20)
    state, p = launched(rattle, x)
    p = p / p.norm(dim=1, keepdim=True)
    motion = rattle.run(state, p, 0.02 * mass, 50)
    axis = torch.linalg.cross(x, p)
    assert float((motion.state[0] * axis).sum(1).abs().max()) < 1e-9
    assert torch.allclose(motion.momentum.norm(dim=1), p.norm(dim=1), atol=1e-9)
    angle = torch.atan2((motion.state[0] * p).sum(1), (motion.state[0] * x).sum(1))
    assert torch.allclose(angle, torch.ones_like(angle), atol=2e-4)


def test_inner_steps_follow_the_geodesic_more_closely():
    x = on_sphere(20)
    errors = []
    for inner in (1, 2, 4):
        rattle = Rattle(SPHERE, Target(SPHERE), inner=inner)
        state, p = launched(rattle, x)
        p = p / p.norm(dim=1, keepdim=True)
        end = rattle.run(state, p, 0.4, 1).state[0]
        errors.append(float((end - x * math.cos(0.4) - p * math.sin(0.4)).norm(dim=1).max()))
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 0


def test_the_map_preserves_phase_volume():
    """On the circle with coordinates (angle, angular momentum) the Jacobian of 3 steps has determinant 1, by central differences (error 1e-8)."""
    rattle = Rattle(CIRCLE, Target(CIRCLE, lambda x: 2 * x[:, 0] + x[:, 1] ** 2))

    def image(angle, momentum):
        x = torch.stack([angle.cos(), angle.sin()], 1)
        p = momentum.unsqueeze(1) * torch.stack([-angle.sin(), angle.cos()], 1)
        motion = rattle.run(rattle.begin(x), p, 0.3, 3)
        assert not bool(motion.stopped.any())
        y, q = motion.state[0], motion.momentum
        return torch.stack([torch.atan2(y[:, 1], y[:, 0]), y[:, 0] * q[:, 1] - y[:, 1] * q[:, 0]], 1)

    a, b = torch.linspace(0, 6, 15, dtype=torch.float64), torch.linspace(-0.8, 0.8, 15, dtype=torch.float64)
    h = 1e-4
    rows = [(image(a + s, b + t) - image(a - s, b - t)) for s, t in ((h, 0.0), (0.0, h))]
    rows = [torch.stack([torch.remainder(r[:, 0] + math.pi, 2 * math.pi) - math.pi, r[:, 1]], 1) / (2 * h) for r in rows]
    determinant = rows[0][:, 0] * rows[1][:, 1] - rows[0][:, 1] * rows[1][:, 0]
    assert torch.allclose(determinant, torch.ones_like(determinant), atol=1e-5)


def test_chains_that_fail_stand_still_and_do_not_recover():
    x = Torus(1.0, 0.5).sample(300, torch.Generator().manual_seed(6))
    rattle = Rattle(TORUS, Target(TORUS, lambda x: x[:, 2]))
    state, p = launched(rattle, x)
    motion = rattle.run(state, 2 * p, 0.5, 1)
    stopped, at = motion.stopped, motion.state[0]
    assert bool(motion.failed.any()) and bool(motion.irreversible.any())
    assert torch.equal(at[stopped], x[stopped])
    further = rattle.run(state, 2 * p, 0.5, 4)
    assert bool((further.stopped | ~stopped).all())
    assert torch.allclose(further.state[0][stopped], x[stopped], rtol=0, atol=1e-12)


def reflecting(reflect=True):
    """The sphere above z = .2 and with x > -.1, energy z."""

    def walls(x):
        return torch.stack([x[:, 2] - 0.2, x[:, 0] + 0.1], 1)

    return Rattle(SPHERE, Target(SPHERE, lambda x: x[:, 2], walls=walls), reflect=reflect)


def inside(n):
    x = on_sphere(40 * n, seed=7)
    return x[(x[:, 2] > 0.2) & (x[:, 0] > -0.1)][:n]


def test_reflections_keep_chains_inside_and_are_reversible():
    rattle, x = reflecting(), inside(300)
    state, p = launched(rattle, x)
    there = rattle.run(state, p, 0.1, 12)
    assert float(there.stopped.double().mean()) < 0.25
    made = ~there.stopped
    y = there.state[0]
    assert float((y[:, 2] - 0.2).min()) >= 0 and float((y[:, 0] + 0.1).min()) >= 0
    back = rattle.run(there.state, -there.momentum, 0.1, 12)
    assert not bool(back.stopped[made].any())
    assert float((back.state[0] - x)[made].norm(dim=1).max()) <= 2e-8
    unhindered = Rattle(SPHERE, Target(SPHERE, lambda x: x[:, 2])).run(state, p, 0.1, 12).state[0]
    met = made & ((unhindered - y).norm(dim=1) > 1e-3)
    assert float(met.double().mean()) > 0.3, "too few trajectories met a wall"


def test_a_reflection_mirrors_the_momentum_in_the_wall():
    rattle = reflecting()
    z = 0.2 + 1e-3
    x = torch.tensor([[math.sqrt(1 - z**2), 0, z]], dtype=torch.float64)
    down = torch.tensor([[z, 0, -math.sqrt(1 - z**2)]], dtype=torch.float64)
    across = torch.tensor([[0.0, 1, 0]], dtype=torch.float64)
    state = rattle.begin(x)
    flat = (*state[:4], torch.zeros_like(state[4]), state[5])
    motion = rattle._drift(rattle.run(flat, down + 0.3 * across, 0.1, 0), down + 0.3 * across, 0.1)
    assert not bool(motion.stopped.any()) and torch.equal(motion.state[0], x)
    assert torch.allclose(motion.momentum, -down + 0.3 * across, atol=1e-12)


def test_without_reflection_walls_are_passed_and_judged_at_the_end():
    rattle, x = reflecting(reflect=False), inside(100)
    state, p = launched(rattle, x)
    motion = rattle.run(state, p, 0.1, 12)
    outside = (motion.state[0][:, 2] < 0.2) | (motion.state[0][:, 0] < -0.1)
    assert bool(outside.any())
    assert torch.equal(torch.isinf(motion.state[1]), outside)


def test_reflect_without_walls_changes_nothing():
    x = on_sphere(20)
    plain, told = (Rattle(SPHERE, Target(SPHERE, lambda x: x[:, 2]), reflect=reflect) for reflect in (False, True))
    state, p = launched(plain, x)
    assert torch.equal(plain.run(state, p, 0.2, 3).state[0], told.run(state, p, 0.2, 3).state[0])


def test_runaway_energies_are_divergences():
    wild = Target(SPHERE, lambda x: 1e4 * (20 * x[:, 2]).sin())
    proposal = Rattle(SPHERE, wild).propose(Rattle(SPHERE, wild).begin(on_sphere(100)), 0.1, 3, torch.Generator().manual_seed(8))
    assert bool((proposal.diverged | proposal.failed | proposal.irreversible).any())
    assert not bool((proposal.diverged & (proposal.failed | proposal.irreversible)).any())
    calm = Rattle(SPHERE, Target(SPHERE, lambda x: x[:, 2]))
    assert not bool(calm.propose(calm.begin(on_sphere(100)), 0.1, 3, torch.Generator().manual_seed(8)).diverged.any())


def test_energies_that_become_nan_are_divergences_not_moves():
    holed = Target(SPHERE, lambda x: (x[:, 2] + 0.5).log())
    x = on_sphere(300)
    x = x[x[:, 2] > -0.45]
    rattle = Rattle(SPHERE, holed)
    proposal = rattle.propose(rattle.begin(x), 0.4, 4, torch.Generator().manual_seed(9))
    nan = torch.isnan(proposal.log_ratio)
    assert bool(nan.any()) and torch.equal(nan & ~proposal.failed & ~proposal.irreversible, proposal.diverged & nan)
