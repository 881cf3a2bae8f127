"""Samplers against exact truths and against mici in the same run: processor seconds of one process each, effective samples by the same estimator."""

import contextlib
import math
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rows import Row, markdown, row
from torch import Tensor

from topogen.manifolds import ImplicitManifold
from topogen.sampling import KERNELS, Chains, HamiltonianMonteCarlo, Kernel, Target, moves, sample
from topogen.sampling.diagnostics import bulk_ess

TORUS = ImplicitManifold(lambda x: ((x[:, :2].norm(dim=1) - 1) ** 2 + x[:, 2] ** 2 - 0.25).unsqueeze(1), 2, 3)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def counted_jacobians() -> Iterator[list[int]]:
    """Counts the rows at which samplers ask for a Jacobian."""
    original, rows = moves.value_and_jacobian, [0]

    def counting(field, x):
        rows[0] += len(x)
        return original(field, x)

    moves.value_and_jacobian = counting
    try:
        yield rows
    finally:
        moves.value_and_jacobian = original


def on_torus(n: int, generator: torch.Generator) -> Tensor:
    """Points of the torus, uniform in its two angles."""
    theta, phi = 2 * math.pi * torch.rand(2, n, generator=generator, dtype=torch.float64)
    return torch.stack([(1 + phi.cos() / 2) * theta.cos(), (1 + phi.cos() / 2) * theta.sin(), phi.sin() / 2], 1)


def angles(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.atan2(x[..., 1], x[..., 0]), torch.atan2(x[..., 2], x[..., :2].norm(dim=-1) - 1)


def readme_energy(x: Tensor) -> Tensor:
    """Density (1 + .9 sin 4 theta cos phi) / (1 + .5 cos phi) against the area: in the angles (1 + .9 sin 4 theta cos phi) / (4 pi^2)."""
    theta, phi = angles(x)
    return -torch.log1p(0.9 * (4 * theta).sin() * phi.cos()) + torch.log1p(phi.cos() / 2)


def estimate(values: Tensor) -> tuple[float, float]:
    """Mean of (n_steps, n_chains) and its standard error over independent chains."""
    per_chain = values.mean(0)
    return float(per_chain.mean()), float(per_chain.std() / len(per_chain) ** 0.5)


def against(values: Tensor, truth: float) -> Row:
    mean, error = estimate(values)
    return {"truth": truth, "mean": mean, "standard_error": error, "z": (mean - truth) / error}


class Unchecked:
    """The torus walk without its reversal check: what the check is for."""

    def __init__(self, target: Target) -> None:
        self.kernel = KERNELS["random_walk"](target)
        self.begin = self.kernel.begin

    def propose(self, state, step, generator):
        from dataclasses import replace

        proposal = self.kernel.propose(state, step, generator)
        return replace(proposal, irreversible=torch.zeros_like(proposal.irreversible))


def torus_moment(kernel: str | Callable[[Target], Kernel]) -> Row:
    generator = seeded(0)
    start = on_torus(4000, generator)
    keep = torch.rand(4000, generator=generator, dtype=torch.float64) < (start[:, :2].norm(dim=1) / 1.5)
    chains = sample(TORUS, start=start[keep], n_steps=400, step=0.5, kernel=kernel, generator=generator)
    return against((chains.points[..., :2].norm(dim=-1) - 1) / 0.5, 0.25)


def ellipse(measure: str, kernel: str) -> Row:
    truth = {"hausdorff": 3.476, "coarea": 4.5}[measure]
    manifold = ImplicitManifold(lambda x: (x[:, :1] ** 2 / 9 + x[:, 1:] ** 2 - 1) / 2, 1, 2)
    generator = seeded(1)
    angle = 2 * math.pi * torch.rand(2000, generator=generator, dtype=torch.float64)
    chains = sample(manifold, start=torch.stack([3 * angle.cos(), angle.sin()], 1), n_steps=400, kernel=kernel, measure=measure, generator=generator)
    return {**against(chains.points[..., 0] ** 2, truth), "error_pct": 100 * float((chains.points[..., 0] ** 2).mean() / truth - 1)}


def readme_moments(kernel: str) -> Row:
    generator = seeded(2)
    chains = sample(TORUS, readme_energy, start=on_torus(2000, generator), n_steps=300, kernel=kernel, generator=generator)
    theta, phi = angles(chains.points)
    return {**against((4 * theta).sin() * phi.cos(), 0.225), "cos_phi_z": against(phi.cos(), 0.0)["z"]}


EXACT: dict[str, Callable[[], Row]] = {
    "torus, step .5": lambda: torus_moment("random_walk"),
    "torus, step .5, no reversal check": lambda: torus_moment(Unchecked),
    **{f"ellipse, {m}, {k}": lambda m=m, k=k: ellipse(m, k) for m in ("hausdorff", "coarea") for k in KERNELS},  # type: ignore[misc]
    **{f"mici's torus, {k}": lambda k=k: readme_moments(k) for k in KERNELS},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_moments(name):
    found = row("samplers", name, EXACT[name])
    print("\n" + markdown([found], tuple(found)))
    assert abs(found["z"]) < 4 or "no reversal check" in name


def components_truth() -> float:
    """Share of {x1 > 0} for exp(-(x1 - .6)^2 / 2) on {x1 x2 x3 = 2, |x| = 3} in R^10, by quadrature.

    Over y = (x1, x2, x3) on S = {y1 y2 y3 = 2}, |y| < 3, lies a 6-sphere of radius R(y) = sqrt(9 - |y|^2), and the volume element of the set is
    R^6 sqrt(1 + |P_S y|^2 / R^2) dA(y).
    """
    grid = torch.linspace(1e-3, 3, 4000, dtype=torch.float64)
    a, b = torch.meshgrid(grid, grid, indexing="ij")
    c = 2 / (a * b)
    square = a**2 + b**2 + c**2
    radius = (9 - square).clamp_min(0)
    area = (1 + (c / a) ** 2 + (c / b) ** 2).sqrt()
    normal = torch.stack([1 / a, 1 / b, 1 / c])
    across = (3.0 / normal.norm(dim=0)) ** 2
    weight = torch.where(radius > 0, area * radius**3 * (1 + (square - across) / radius.clamp_min(1e-12)).sqrt(), 0.0)
    plus, minus = ((-0.5 * (sign * a - 0.6) ** 2).exp() * weight for sign in (1, -1))
    return float(plus.sum() / (plus.sum() + minus.sum()))


def four_components() -> Row:
    manifold = ImplicitManifold(lambda x: torch.stack([x[:, :3].prod(1) - 2, x.square().sum(1) - 9], 1), 8, 10)
    generator = seeded(3)
    start = torch.zeros(300, 10, dtype=torch.float64)
    start[:, :3] = 2 ** (1 / 3)
    start[:, 3:] = torch.randn(300, 7, generator=generator, dtype=torch.float64)
    start[:, 3:] *= ((9 - 3 * 2 ** (2 / 3)) ** 0.5) / start[:, 3:].norm(dim=1, keepdim=True)
    begin = time.process_time()
    chains = sample(
        manifold, lambda x: 0.5 * (x[:, 0] - 0.6) ** 2, start=start, n_steps=1200, n_warm_up=800, kernel="random_walk", jumps=2, generator=generator
    )
    seconds = time.process_time() - begin
    signs = (chains.points[..., :3] > 0).long()
    label = 2 * signs[..., 0] + signs[..., 1]
    positive = components_truth()
    truth = torch.tensor([(1 - positive) / 2, (1 - positive) / 2, positive / 2, positive / 2])
    found = [estimate((label == k).double()) for k in range(4)]
    z = [(mean - float(true)) / error for (mean, error), true in zip(found, truth, strict=True)]
    changes = int((label[1:] != label[:-1]).sum())
    return {
        "truth": str([round(float(t), 4) for t in truth]), "occupancy": str([round(mean, 4) for mean, _ in found]), "z": str([round(v, 2) for v in z]),
        "largest_z": max(map(abs, z)), "changes_per_chain": changes / 300, "chains_with_all": int(sum(len(set(c.tolist())) == 4 for c in label.T)),
        "seconds": seconds,
    }  # fmt: skip


def test_components_of_a_set_in_ten_dimensions():
    found = row("components", "four", four_components)
    print("\n" + markdown([found], tuple(found)))
    assert found["largest_z"] < 4


def ours_on_torus(kernel: str, n_chains: int) -> Row:
    generator = seeded(4)
    start = on_torus(n_chains, generator)
    with counted_jacobians() as rows:
        begin = time.process_time()
        chains = sample(TORUS, readme_energy, start=start, n_steps=300, kernel=kernel, generator=generator)
        seconds = time.process_time() - begin
    ess = float(bulk_ess(chains.points).min())
    return {"ess": ess, "seconds": seconds, "ess_per_second": ess / seconds, "ess_per_jacobian": ess / rows[0], "chains": n_chains}


def mici_on_torus() -> Row:
    import mici

    def energy(q):
        theta, phi = np.arctan2(q[1], q[0]), np.arctan2(q[2], np.hypot(q[0], q[1]) - 1)
        return -np.log1p(0.9 * np.sin(4 * theta) * np.cos(phi)) + np.log1p(np.cos(phi) / 2)

    def gradient(q):
        rho = np.hypot(q[0], q[1])
        u = rho - 1
        theta, phi = np.arctan2(q[1], q[0]), np.arctan2(q[2], u)
        a, b = 1 + 0.9 * np.sin(4 * theta) * np.cos(phi), 1 + np.cos(phi) / 2
        by_theta = -3.6 * np.cos(4 * theta) * np.cos(phi) / a
        by_phi = 0.9 * np.sin(4 * theta) * np.sin(phi) / a - np.sin(phi) / 2 / b
        s = u**2 + q[2] ** 2
        toward = -q[2] / s * by_phi
        return np.array([-q[1] / rho**2 * by_theta + toward * q[0] / rho, q[0] / rho**2 * by_theta + toward * q[1] / rho, u / s * by_phi])

    calls = [0]

    def jacobian(q):
        calls[0] += 1
        rho = np.hypot(q[0], q[1])
        return np.array([[2 * (rho - 1) * q[0] / rho, 2 * (rho - 1) * q[1] / rho, 2 * q[2]]])

    generator = np.random.default_rng(0)
    start = on_torus(4, seeded(5)).numpy()
    begin = time.process_time()
    outputs = mici.sample_constrained_hmc_chains(
        500, 2000, list(start), energy, lambda q: np.array([(np.hypot(q[0], q[1]) - 1) ** 2 + q[2] ** 2 - 0.25]), seed=generator,
        grad_neg_log_dens=gradient, jacob_constr=jacobian, trace_funcs=[lambda state: {"q": state.pos}], display_progress=False,
    )  # fmt: skip
    seconds = time.process_time() - begin
    points = torch.from_numpy(np.stack(outputs.traces["q"], 1))
    ess = float(bulk_ess(points).min())
    theta, phi = angles(points)
    return {
        "ess": ess, "seconds": seconds, "ess_per_second": ess / seconds, "ess_per_jacobian": ess / calls[0], "chains": 4,
        "moment": float(((4 * theta).sin() * phi.cos()).mean()),
    }  # fmt: skip


def against_mici() -> Row:
    """Both warm-ups are counted in, 200 steps of ours and 500 of mici's; mici's derivatives are written by hand, its chains run one after the other."""
    theirs = mici_on_torus()
    rows = {kernel: ours_on_torus(kernel, 2000) for kernel in KERNELS}
    best = max(rows.values(), key=lambda r: r["ess_per_second"])
    found = {f"{kernel}_{unit}": r[unit] for kernel, r in rows.items() for unit in ("ess_per_second", "ess_per_jacobian")}
    return {
        **{f"mici_{unit}": theirs[unit] for unit in ("ess_per_second", "ess_per_jacobian", "moment")}, **found,
        "times_per_second": best["ess_per_second"] / theirs["ess_per_second"],
        "times_per_jacobian": max(r["ess_per_jacobian"] for r in rows.values()) / theirs["ess_per_jacobian"],
    }  # fmt: skip


def test_against_mici():
    pytest.importorskip("mici")
    found = row("mici", "torus", against_mici)
    print("\n" + markdown([found], tuple(found)))


def rotations(n: int) -> ImplicitManifold:
    upper = torch.triu_indices(n, n)

    def constraint(x: Tensor) -> Tensor:
        matrix = x.reshape(-1, n, n)
        return (matrix @ matrix.mT - torch.eye(n, dtype=x.dtype))[:, upper[0], upper[1]]

    return ImplicitManifold(constraint, n * (n - 1) // 2, n * n)


def eleven(kernel: str) -> Row:
    generator = seeded(6)
    frames = torch.linalg.qr(torch.randn(128, 11, 11, generator=generator, dtype=torch.float64)).Q
    frames[:, :, 0] *= torch.linalg.det(frames).sign()[:, None]
    n_steps = {"hmc": 60}.get(kernel, 150)
    begin = time.process_time()
    chains = sample(rotations(11), start=frames.reshape(128, 121), n_steps=n_steps, n_warm_up=50, kernel=kernel, generator=generator)
    seconds = time.process_time() - begin
    matrices = chains.points.reshape(-1, 128, 11, 11)
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
    ess = float(bulk_ess(trace.unsqueeze(-1)))
    return {
        **against(trace, 0.0), "variance": float(trace.var()), "negative_determinants": int((torch.linalg.det(matrices) < 0).sum()), "ess": ess,
        "ess_per_second": ess / seconds, "times_reference": ess / seconds / 9.6, "acceptance": float(chains.acceptance.mean()),
    }  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS)
def test_rotations_in_eleven_dimensions(kernel):
    found = row("rotations", kernel, lambda: eleven(kernel))
    print("\n" + markdown([found], tuple(found)))
    assert found["negative_determinants"] == 0


def thousand_dimensions() -> Row:
    """The stress test of D = 1000 with nine linear constraints and a sphere of radius 5, 1000 steps of 64 chains."""
    generator = seeded(7)
    normals = torch.linalg.qr(torch.randn(1000, 9, generator=generator, dtype=torch.float64)).Q
    manifold = ImplicitManifold(lambda x: torch.cat([x @ normals, x.square().sum(1, keepdim=True) - 25], 1), 990, 1000)
    start = torch.randn(64, 1000, generator=generator, dtype=torch.float64)
    start -= start @ normals @ normals.T
    start *= 5 / start.norm(dim=1, keepdim=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    chains: Chains = sample(
        manifold, lambda x: x[:, 0] * 20, start=start, n_steps=1000, n_warm_up=0, step=0.02, thin=50, kernel="langevin", generator=generator
    )
    seconds = time.process_time() - begin
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    residual = float(manifold.kept_residual(chains.points[-1]).max())
    return {"seconds": seconds, "extra_megabytes": extra, "acceptance": float(chains.acceptance.mean()), "residual": residual}


def test_thousand_dimensions():
    found = row("thousand_dimensions", "langevin", thousand_dimensions)
    print("\n" + markdown([found], tuple(found)))


CLOUDS = {file.stem: file for file in sorted(Path("data").glob("*.*")) if file.suffix in (".csv", ".npy") and file.stem != "figure_eight"}


def on_learned(name: str) -> Row:
    """A learned manifold of the clouds in `data/`: how exactly trajectories return, residuals, and uniform moments by chains against `Uniform`."""
    from topogen import fit, points

    model = fit(points.read(CLOUDS[name]), seed=0, quiet=True)
    manifold, generator = model.manifold, seeded(8)
    uniform = model.sample(4000, generator=generator)
    kernel = HamiltonianMonteCarlo(manifold, lambda x: (x[:, 0] / x.abs().max()) ** 2, length=1.0)
    state = kernel.begin(uniform[:500])
    momentum = kernel.rattle.mover.tangent(moves.Frame(state[2], state[3]), torch.randn(uniform[:500].shape, generator=generator, dtype=torch.float64))
    step = 0.05 * float(uniform.std(0).norm())
    there = kernel.rattle.run(state, momentum, step, 5)
    back = kernel.rattle.run(there.state, -there.momentum, step, 5)
    fine = ~there.stopped & ~back.stopped
    error = (back.state[0] - uniform[:500]).norm(dim=1)[fine]
    chains = sample(manifold, start=uniform[:1000], n_steps=60, n_warm_up=60, kernel="hmc", generator=generator)
    mean, spread = chains.points.mean((0, 1)), chains.points.mean(0).std(0) / len(chains.points[0]) ** 0.5
    other = (uniform.std(0) ** 2 / len(uniform) + spread**2).sqrt()
    return {
        "outputs": manifold.outputs, "moved_share": float(fine.double().mean()), "reversal_error": float(error.max()) / manifold.scale,
        "residual": float(manifold.kept_residual(chains.points[-1]).max()) / manifold.scale, "acceptance": float(chains.acceptance.mean()),
        "largest_z_of_means": float(((mean - uniform.mean(0)) / other).abs().max()),
    }  # fmt: skip


@pytest.mark.parametrize("name", CLOUDS)
def test_on_learned_manifolds(name):
    found = row("reversal", name, lambda: on_learned(name))
    print("\n" + markdown([found], tuple(found)))
