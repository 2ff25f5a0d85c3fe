"""Arrows point one way: a module imports only from the rungs below its own."""

import ast
import pathlib
import types

import pytest

import purenet

ROOT = pathlib.Path(purenet.__file__).parent
# From the bottom up. Modules of one rung may import each other; `data` stands apart and imports nothing of purenet.
RUNGS = (
    ("purenet.recording",),
    ("purenet.errors",),
    ("purenet.nodes",),
    ("purenet.contract", "purenet.streams", "purenet.shuffling", "purenet.data", "purenet.flop_rules"),
    ("purenet.flop_counting",),
    ("purenet.layers", "purenet.losses"),
    ("purenet.metrics", "purenet.compose", "purenet.optim"),
    ("purenet.gradients", "purenet.optimizers"),
    ("purenet.tapping",),
    ("purenet.updates",),
    ("purenet.training", "purenet.evaluation", "purenet.chunks", "purenet.stopping", "purenet.pacing"),
    ("purenet.snapshots", "purenet.descending"),
    ("purenet.driving",),
    ("purenet.fitting", "purenet.plateau"),
    ("purenet.calls", "purenet.flow"),
    ("purenet.summaries", "purenet.drawing", "purenet.plot", "purenet.convert", "purenet.check", "purenet.insight"),
    ("purenet",),
    ("purenet.bench",),
)
MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rung(module):
    fits = [
        (len(prefix), level)
        for level, prefixes in enumerate(RUNGS)
        for prefix in prefixes
        if module == prefix or (module.startswith(prefix + ".") and prefix != "purenet")
    ]
    assert fits, f"{module} stands on no rung: add it to RUNGS"
    return max(fits)[1]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_down(path):
    me = name_of(path)
    for module in imports(path):
        if module.split(".")[0] == "purenet":
            assert rung(module) <= rung(me), f"{me} imports {module}, which stands above it"


def test_data_stands_apart():
    for path in (ROOT / "data").rglob("*.py"):
        assert all(not m.startswith("purenet") or m.startswith("purenet.data") for m in imports(path)), path


def test_no_module_shares_its_name_with_a_public_function():
    families = ("losses", "metrics", "data", "plot", "convert", "check", "optim")
    doors = [purenet, *(getattr(purenet, family) for family in families)]
    public = {name for door in doors for name, value in vars(door).items() if not isinstance(value, types.ModuleType)}
    assert {path.stem for path in MODULES} & public == set()
