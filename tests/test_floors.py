"""The floors of CONTRIBUTING.md: a file uses what lies below it, nothing above or beside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import point2mask

PACKAGE = Path(point2mask.__file__).parent
# From below; those on one floor do not know of each other.
FLOORS = (
    ("engine", "messages"),
    ("grid", "cluster", "progress", "ranges", "workers"),
    ("ops", "bilinear"),
    ("models",),
    ("pseudo_masks",),
    ("data",),
    ("losses", "evaluation", "visualize"),
    ("checkpoint", "predict", "recipes"),
    ("trained",),
    ("hub",),
    ("label",),
    ("train",),
    ("rounds",),
    ("app",),
    ("cli",),
    ("__main__",),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = ("point2mask", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES} | {"point2mask.engine"}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The package's modules that a file imports, and whether as soon as it is imported itself."""
    tree = ast.parse(path.read_text())
    inner = {
        node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in whole]
        else:
            continue
        for name in names:
            if name in MODULES:
                yield name, node not in inner


def test_no_file_looks_up():
    upward = []
    for path in FILES:
        for name, _ in imports(path):
            own, other = (x.partition(".")[2].partition(".")[0] for x in (module_of(path), name))
            # The package itself, "", is what all others are part of.
            if own and other and other != own and FLOOR[other] >= FLOOR[own]:
                upward.append(f"{module_of(path)} uses {name}")
    assert not upward


def test_no_circle():
    """Of modules that import each other before anything is called."""
    uses = {module_of(path): {name for name, now in imports(path) if now} for path in FILES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way, name))}"
        if name not in done:
            for other in sorted(uses.get(name, ())):
                visit(other, (*way, name))
            done.add(name)

    for name in uses:
        visit(name, ())


def test_there_is_a_floor_for_everything():
    names = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert names - {"__init__"} == FLOOR.keys() - {"engine"}
