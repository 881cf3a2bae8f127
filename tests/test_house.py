"""The house stays as it is drawn: floors, no circles, one name for one thing, rooms of a size that can be looked over, nothing public that nobody uses."""

import ast
import collections
import pathlib
import re

import pytest

import topogen

ROOT = pathlib.Path(topogen.__file__).parent
REPOSITORY = ROOT.parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MODULES = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
NAMES = {path: name for name, path in MODULES.items()}
SHARED_BASENAMES = {"__init__.py", "base.py", "fit.py"}
LARGEST_ROOM = 16


def imports(path: pathlib.Path) -> set[str]:
    """The modules of topogen that a file imports when it is imported itself, and inside its functions."""
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("topogen"):
            found |= {f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module for alias in node.names}
    return {name for name in found if name in MODULES and MODULES[name].name != "__init__.py"}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some circle of imports, empty where there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :] + [name]
        if name in done:
            return []
        found = next((c for c in (visit(other, [*way, name]) for other in sorted(graph.get(name, ()))) if c), [])
        done.add(name)
        return found

    return next((c for c in (visit(name, []) for name in sorted(graph)) if c), [])


def test_no_circle_of_imports():
    graph = {NAMES[path]: imports(path) for path in FILES if path.name != "__init__.py" and not _only_typing(path)}
    assert sum(map(len, graph.values())) > 500, "imports were not found"
    assert circle(graph) == []


def test_circles_are_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_one_basename_for_one_file():
    count = collections.Counter(path.name for path in FILES)
    assert {name: n for name, n in count.items() if n > 1 and name not in SHARED_BASENAMES} == {}


def test_one_public_name_for_one_thing():
    homes = collections.defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                homes[node.name].append(NAMES[path])
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


@pytest.mark.parametrize("room", sorted({path.parent for path in FILES}), ids=lambda room: str(room.relative_to(ROOT)))
def test_rooms_can_be_looked_over(room):
    assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= LARGEST_ROOM


def test_tests_mirror_the_package():
    """A folder of tests has the name of a room."""
    beside = {"benchmarks", "examples", "third_party"}
    tests = REPOSITORY / "tests"
    for folder in {path.parent for path in tests.rglob("test_*.py")} - {tests}:
        inside = folder.relative_to(tests)
        assert inside.parts[0] in beside or (ROOT / inside).is_dir(), f"tests/{inside} mirrors nothing"


def exported() -> set[str]:
    """What rooms give to users by their `__all__`."""
    names = set()
    for path, tree in TREES.items():
        if path.name == "__init__.py":
            for node in tree.body:
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                    names |= {element.value for element in node.value.elts}
    return names


def uses() -> collections.Counter:
    """How often a name is read in the package, by name, attribute or import, outside of `__all__`."""
    count: collections.Counter = collections.Counter()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                count[node.id] += 1
            elif isinstance(node, ast.Attribute):
                count[node.attr] += 1
            elif isinstance(node, ast.ImportFrom):
                count.update(alias.name for alias in node.names)
    return count


def test_no_public_function_or_class_that_nobody_uses():
    used, given = uses(), exported()
    idle = [
        f"{NAMES[path]}.{node.name}"
        for path, tree in TREES.items()
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_") and node.name not in given and not used[node.name]
    ]
    assert idle == []


def _bare(function: ast.FunctionDef) -> bool:
    """A signature only: abstract, a protocol's, or one that says that a subclass has to write it."""
    body = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    return not body or all(isinstance(node, (ast.Raise, ast.Pass)) for node in body) or (len(body) == 1 and isinstance(body[0], ast.Return))


def idle_parameters(tree: ast.Module) -> list[str]:
    """Parameters of public functions whose bodies never read them."""
    found = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or _bare(node):
            continue
        read = {name.id for inner in ast.walk(node) for name in [inner] if isinstance(name, ast.Name)}
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        found += [f"{node.name}({argument.arg})" for argument in arguments if argument.arg not in read]
    return found


def test_no_parameter_that_is_never_read():
    assert {NAMES[path]: idle for path, tree in TREES.items() if (idle := idle_parameters(tree))} == {}
    assert idle_parameters(ast.parse("def f(a, b):\n    c = a\n    return c")) == ["f(b)"]


def test_house_is_one_page_and_names_every_room():
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    missing = [room for room in rooms if not re.search(rf"\b{re.escape(room)}\b", page)]
    assert missing == [] and len(page.splitlines()) <= 130


def _only_typing(path: pathlib.Path) -> bool:
    """Files of the command import inside `if TYPE_CHECKING`, which never runs."""
    return "TYPE_CHECKING" in path.read_text(encoding="utf-8") and path.name == "arguments.py"


TESTS = pathlib.Path(__file__).parent
SLOW = (TESTS / "slow.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("file", sorted({line.split("::")[0] for line in SLOW}))
def test_slow_tests_that_are_listed_exist(file):
    named = {line.split("::")[-1].split("[")[0] for line in SLOW if line.startswith(f"{file}::")}
    laws = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "testing").glob("*.py"))
    text = (TESTS.parent / file).read_text(encoding="utf-8") + laws
    assert not {name for name in named if f"def {name}(" not in text}
