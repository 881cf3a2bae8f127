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


KINDS = {"ImplicitManifold", "Atlas", "Shape"}
OWN_ROOMS = ("manifolds/implicit/", "manifolds/atlas/", "manifolds/shapes/")
# The entries of the table of manifolds, which say what they cover.
TABLES = {"learning/implicit/implicit_entry.py", "learning/atlas/atlas_entry.py", "learning/shape_entry.py"}
# Private names of torch's own classes that have no public face.
TORCH = {"_modules", "_buffers", "_version", "_validate_args", "_standard_gamma"}
NAMED_TUPLE = {"_asdict", "_replace", "_fields", "_make"}


def place_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls_of(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name]


def kinds_tested(tree: ast.AST) -> set[str]:
    """The kinds of manifold that some `isinstance` of a file looks for."""
    named = (node for call in calls_of(tree, "isinstance") for node in ast.walk(call.args[1]))
    return {name for node in named for name in (getattr(node, "id", None), getattr(node, "attr", None)) if name in KINDS}


def gates_guessed(tree: ast.AST) -> int:
    """Calls of `getattr` and `hasattr` that ask for a gate by name."""
    calls = calls_of(tree, "getattr") + calls_of(tree, "hasattr")
    return sum(len(call.args) > 1 and isinstance(call.args[1], ast.Constant) and call.args[1].value == "gate" for call in calls)


def own_names(tree: ast.AST) -> set[str]:
    """Names that a file defines: its functions and classes, what it assigns, and the attributes that it sets on `self`."""
    defined = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    stored = {node for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store)}
    plain = {node.id for node in stored if isinstance(node, ast.Name)}
    own = {node.attr for node in stored if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "self"}
    return defined | plain | own


def taken_by_private_name(tree: ast.AST) -> set[str]:
    """Private attributes that a file takes from something else than `self`, `cls` and `super()`, and does not define."""
    found = {node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")}
    others = {node for node in found if getattr(node.value, "id", getattr(getattr(node.value, "func", None), "id", None)) not in ("self", "cls", "super")}
    return {node.attr for node in others} - own_names(tree) - TORCH - NAMED_TUPLE


def test_nobody_asks_for_the_class_of_a_manifold():
    found = {place_of(path): kinds_tested(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES}
    assert not {place: kinds for place, kinds in found.items() if kinds and place not in TABLES and not place.startswith(OWN_ROOMS)}
    planted = "isinstance(x, shapes.Shape) or isinstance(x, (int, Atlas)) or isinstance(x, ImplicitManifold | None)"
    assert kinds_tested(ast.parse(planted)) == KINDS


def test_nobody_guesses_a_gate():
    assert not [place_of(path) for path in FILES if gates_guessed(ast.parse(path.read_text(encoding="utf-8")))]
    assert gates_guessed(ast.parse("getattr(m, 'gate', None), hasattr(m, 'gate')")) == 2


def test_nobody_takes_by_a_private_name():
    found = {place_of(path): taken_by_private_name(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES}
    assert not {place: names for place, names in found.items() if names}
    assert taken_by_private_name(ast.parse("def _own(x): return x._other, x._own, self._mine, super()._base(), x.__len__(), x._replace()")) == {"_other"}
