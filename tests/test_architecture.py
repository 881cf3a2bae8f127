"""The house: a room imports only from floors below it, importing topogen is cheap and changes nothing, and every public name is documented."""

import ast
import pathlib
import subprocess
import sys

import pytest

import topogen

ROOT = pathlib.Path(topogen.__file__).parent
FLOORS = (
    {"errors", "_version", "entry_tables"},
    {"geometry", "points", "training"},
    {"manifolds", "saving"},
    {"sampling", "topology"},
    {"distributions"},
    {"learning"},
    {"inspection", "verification"},
    {"model"},
    {"report"},
    {"command"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
BESIDE = {"testing", "diagnostics", "__init__"}
FILES = sorted(path for path in ROOT.rglob("*.py"))


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("topogen."):
            names.add(node.module.split(".")[1])
        if isinstance(node, ast.ImportFrom) and node.module == "topogen":
            names |= {alias.name for alias in node.names if alias.name in FLOOR}
    return names


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) not in BESIDE], ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_run_down(path):
    room = room_of(path)
    above = {other for other in imported(path) - {room} if other in FLOOR and FLOOR[other] > FLOOR[room]}
    assert not above, f"{room} imports {above} from floors above it"


def test_every_room_has_its_floor():
    assert {room_of(path) for path in FILES} <= FLOOR.keys() | BESIDE


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_is_light_and_leaves_torch_alone():
    code = (
        "import sys, time, torch; from torch.distributions import Distribution as D; flag = D._validate_args, torch.get_default_dtype();"
        "state = torch.get_rng_state(); start = time.perf_counter(); import topogen; took = time.perf_counter() - start;"
        "heavy = [name for name in ('gudhi', 'sklearn', 'scipy', 'trimesh', 'skimage', 'matplotlib', 'geoopt') if name in sys.modules];"
        "print(took < .3, heavy, flag == (D._validate_args, torch.get_default_dtype()), torch.equal(state, torch.get_rng_state()))"
    )
    assert run(code).strip() == "True [] True True"


def test_public_names_exist():
    for name in topogen.__all__:
        assert getattr(topogen, name) is not None
    assert set(topogen.__all__) <= set(dir(topogen))
    with pytest.raises(AttributeError, match="no attribute"):
        _ = topogen.nothing


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_public_definitions_have_docstrings_and_no_asserts(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(tree), "module docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
    if "testing" not in path.parts:
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree))
