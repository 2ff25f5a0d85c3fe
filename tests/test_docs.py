"""Every public name is documented: arguments that exist, what comes back, what is raised, and an example that runs.

pytest runs the examples of functions and classes where they stand; those of values, such as `pn.relu`, run here.
"""

import doctest
import inspect
import pathlib
import re
import types

import pytest

import purenet as pn

DOORS = {
    "pn": pn,
    "pn.losses": pn.losses,
    "pn.metrics": pn.metrics,
    "pn.data": pn.data,
    "pn.plot": pn.plot,
    "pn.convert": pn.convert,
    "pn.check": pn.check,
    "pn.optim": pn.optim,
}
PUBLIC = {
    f"{door}.{name}": value
    for door, module in DOORS.items()
    for name, value in vars(module).items()
    if not name.startswith("_") and not isinstance(value, types.ModuleType)
}
VALUES = {
    name: value for name, value in PUBLIC.items() if isinstance(value, (pn.Layer, pn.losses.Loss, pn.metrics.Metric))
}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def section(doc, name):
    """The lines of a section of a Google docstring."""
    found = re.search(rf"^{name}:\n((?:[ \t]+.*\n|\n)+)", doc + "\n", re.MULTILINE)
    return found.group(1) if found else ""


def test_the_doors_are_known():
    assert set(PUBLIC) == set(VALUES) | set(FUNCTIONS) | set(CLASSES)
    assert len(VALUES) > 25
    assert len(FUNCTIONS) > 25


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_document_each_argument_and_what_comes_back(name):
    doc, signature = inspect.getdoc(FUNCTIONS[name]), inspect.signature(FUNCTIONS[name])
    documented = set(re.findall(r"^ +\**(\w+)(?=[,:])|, (\w+)(?=:)", section(doc, "Args"), re.MULTILINE))
    documented = {word for pair in documented for word in pair if word}
    parameters = set(signature.parameters)
    assert parameters <= documented, f"{name} does not document {parameters - documented}"
    for heading in ("Returns", "Example"):
        assert section(doc, heading), f"{name} has no {heading}"
    if parameters:
        assert section(doc, "Raises"), f"{name} does not say what it raises"
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, f"{name} does not type {parameter.name}"
    assert signature.return_annotation is not inspect.Signature.empty, f"{name} does not type what it returns"


@pytest.mark.parametrize("name", CLASSES)
def test_classes_document_their_fields(name):
    doc, kind = inspect.getdoc(CLASSES[name]), CLASSES[name]
    fields = getattr(kind, "_fields", None) or list(getattr(kind, "__dataclass_fields__", ()))
    documented = set(re.findall(r"^ +(\w+):", section(doc, "Attributes"), re.MULTILINE))
    assert set(fields) <= documented, f"{name} does not document {set(fields) - documented}"


@pytest.mark.parametrize("name", VALUES)
def test_values_are_documented_and_their_examples_run(name):
    value = VALUES[name]
    doc = inspect.cleandoc(value.__doc__)
    assert doc != inspect.getdoc(type(value)), f"{name} has no docstring of its own"
    assert section(doc, "Raises"), f"{name} does not say what it raises"
    examples = doctest.DocTestParser().get_doctest(doc, {}, name, None, 0)
    assert examples.examples, f"{name} has no example"
    result = doctest.DocTestRunner(optionflags=FLAGS).run(examples)
    assert result.failed == 0


def test_the_readme_names_only_what_exists():
    text = (pathlib.Path(__file__).parent.parent / "README.md").read_text()
    for name in set(re.findall(r"\bpn(?:\.\w+)+", text)):
        value = pn
        for part in name.split(".")[1:]:
            assert hasattr(value, part), f"README: {name} does not exist"
            value = getattr(value, part)


@pytest.mark.slow
def test_the_readme_runs():
    text = (pathlib.Path(__file__).parent.parent / "README.md").read_text()
    examples = doctest.DocTestParser().get_doctest(text, {}, "README.md", None, 0)
    assert len(examples.examples) > 10
    assert doctest.DocTestRunner(optionflags=FLAGS).run(examples).failed == 0
