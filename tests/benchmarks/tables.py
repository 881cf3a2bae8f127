"""Write docs/benchmarks.md from the rows measured so far: `python tests/benchmarks/tables.py`."""

import pathlib
from statistics import mean

from rows import Row, markdown, table

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "benchmarks.md"
SHAPES = (
    "name", "seeds", "samples_to_shape_pct", "shape_to_manifold_pct", "samples_to_shape_sigma", "shape_to_manifold_sigma", "unprojected_sigma",
    "ghosts_pct", "gap_1pct", "tilt_99pct", "betti_right", "volume_error_pct", "fit_seconds", "fit_in_references",
)  # fmt: skip

SECTIONS = (
    ("Scales: coverage at estimated and stated density ratios", "coverage"),
    ("Scales: true shapes under their density ratio", "true shapes"),
    ("Constraints side by side", "constraints"),
    ("Runs as they come", "runs"),
    ("Bounded surfaces", "bounded"),
    ("Noise", "noise"),
    ("Uneven density, outliers, missing caps", "defects"),
    ("A torus in a hundred dimensions", "hundred"),
    ("A sphere with a circle", "pieces"),
    ("A thousand points", "thousand"),
    ("Real data", "real"),
    ("Projection", "projection"),
    ("Samplers: exact moments", "samplers"),
    ("Samplers: four components in ten dimensions", "components"),
    ("Samplers: against mici on the torus of its README", "mici"),
    ("Samplers: rotations in eleven dimensions", "rotations"),
    ("Samplers: a thousand dimensions, ten constraints", "thousand_dimensions"),
    ("Samplers: on learned manifolds", "reversal"),
    ("Energies: closed forms", "energy"),
    ("Energies: floods on a learned sphere", "floods"),
    ("Atlases: good covers of learned manifolds, certified", "atlases"),
    ("Atlases: discs", "discs"),
    ("Atlases: own sheets, no constraint", "own_sheets"),
    ("Geodesic distances", "geodesics"),
    ("Charts: six wrapped normals on a torus", "atlas_density_torus"),
    ("Charts: a von Mises density on a learned circle", "atlas_density_circle"),
    ("Charts: floods and earthquakes on a learned sphere", "atlas_density_earth"),
    ("Charts: protein torsions on the flat torus", "atlas_density_protein"),
    ("Diffusions and flows: closed forms on learned manifolds", "carried"),
    ("Diffusions and flows: what draws of the truth score against the same held-out points", "carried_exact"),
    ("Diffusions and flows: floods and earthquakes on a learned sphere", "carried_earth"),
    ("Diffusions and flows: eigenfunctions on a learned bunny", "carried_bunny"),
    ("Flows: RNA torsions on the flat 7-torus", "carried_rna"),
    ("Flows: learned flat tori", "carried_flat"),
    ("Flows: the same network in the ambient space", "carried_ambient"),
    ("Diffusions: norms of scores within M and in the ambient space", "carried_norms"),
    ("Diffusions and flows: cost against dimensions", "carried_cost"),
    ("Tables in place of learned manifolds", "tabulated"),
    ("Brownian motion: rates of decay on spheres", "brownian"),
    ("Verdicts: every cloud of data/, and real data", "clouds"),
    ("Verdicts: right models", "right_models"),
    ("Topology: cost of a whole verification", "topology_cost"),
    ("Topology: Rips beside other engines", "topology_engines"),
    ("Topology: confidence radii", "confidence"),
    ("Topology: p-values of noise", "p_values"),
    ("Topology: MTop-Div", "mtopdiv"),
    ("Topology: circles with outliers", "outliers"),
)


def merged(rows: list[Row]) -> list[Row]:
    """One row per shape and noise: means over seeds, the worst of what must hold in every run."""
    groups: dict[str, list[Row]] = {}
    for entry in rows:
        groups.setdefault(entry["name"].rsplit("-", 1)[0], []).append(entry)
    return [_merge(name, group) for name, group in groups.items()]


def verdicts(rows: list[Row]) -> list[Row]:
    """One row per shape and noise, or per pairing: how often each verdict was given, and under which labels."""
    groups: dict[str, list[Row]] = {}
    for entry in rows:
        groups.setdefault(entry["name"].rsplit("-", 1)[0].replace("_", " "), []).append(entry)
    return [_counted(name, group) for name, group in groups.items()]


def reliability(rows: list[Row]) -> list[Row]:
    """How often the most probable Betti numbers are right, by the probability stated; clouds without an answer are counted apart."""
    answered = [entry for entry in rows if entry["answer"]]
    steps = ((0.0, 0.5), (0.5, 0.8), (0.8, 0.9), (0.9, 1.0))
    groups = {f"{low:g} to {high:g}": [entry["right"] for entry in answered if low <= entry["stated"] < high] for low, high in steps}
    return [{"share": name, "clouds": len(found), "right": sum(found), "no answer": len(rows) - len(answered)} for name, found in groups.items()]


def _counted(name: str, group: list[Row]) -> Row:
    given = {verdict: sum(entry["verdict"] == verdict for entry in group) for verdict in ("CONFIRMED", "INCONCLUSIVE", "REFUTED")}
    labels = ", ".join(sorted({entry["label"] for entry in group} - {"-"}))
    return {"name": name, "points": group[0]["n"], "seeds": len(group), **given, "labels": labels, "seconds": mean(entry["seconds"] for entry in group)}


def _merge(name: str, group: list[Row]) -> Row:
    def average(key: str) -> float | None:
        values = [entry[key] for entry in group if entry.get(key) is not None]
        return mean(values) if values else None

    row: Row = {"name": name, "seeds": len(group), **{key: average(key) for key in SHAPES[2:] if key != "betti_right"}}
    worst = {"ghosts_pct": max, "tilt_99pct": max, "gap_1pct": min}
    row |= {key: pick(entry[key] for entry in group) for key, pick in worst.items()}
    row["betti_right"] = f"{sum(entry['betti_right'] for entry in group)}/{len(group)}"
    return row


def main() -> None:
    """Replace the generated part of the page, below its marker."""
    marker = "<!-- generated -->"
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else f"# Benchmarks\n\n{marker}\n"
    parts = [text.split(marker)[0] + marker]
    shapes = merged(table("shapes"))
    parts += ["## Shapes, clean", markdown([r for r in shapes if "-0.0" in r["name"] and "-0.01" not in r["name"]], [c for c in SHAPES if "sigma" not in c])]
    parts += ["## Shapes, noise of 1 % of the diameter", markdown([r for r in shapes if "-0.01" in r["name"]], SHAPES)]
    for title, name in (("Verdicts on clouds: right pairings", "verdicts"), ("Verdicts on clouds: wrong pairings", "wrong_verdicts")):
        found = verdicts(table(name))
        parts += [f"## {title}", markdown(found, tuple(found[0]))] if found else []
    stated = reliability(table("reliability"))
    parts += ["## How stable: halves that agree, and truth", markdown(stated, tuple(stated[0]))] if table("reliability") else []
    for title, name in SECTIONS:
        for group in _alike(table(name)):
            parts += [f"## {title}", markdown(group, tuple(group[0]))]
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _alike(rows: list[Row]) -> list[list[Row]]:
    """Rows with the same columns together."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for entry in rows:
        groups.setdefault(tuple(entry), []).append(entry)
    return list(groups.values())


if __name__ == "__main__":
    main()
