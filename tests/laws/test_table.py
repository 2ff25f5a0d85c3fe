"""Every public layer, combinator and loss has a row in the table, is proven, and says how it was derived."""

import inspect
import typing

import pytest
from specs import LAYERS, LOSSES

import purenet as pn

# Makers of layers by users: what they make is proven by the user's own checks.
OPEN = {"layer", "loss"}


def public(module, kind):
    """Names of values of this kind, and of functions that return one."""
    for name, value in vars(module).items():
        returns = typing.get_type_hints(value).get("return") if inspect.isfunction(value) else None
        if isinstance(value, kind) or returns is kind:
            yield name


@pytest.mark.parametrize(("module", "kind", "rows"), [(pn, pn.Layer, LAYERS), (pn.losses, pn.losses.Loss, LOSSES)])
def test_every_public_name_has_a_row(module, kind, rows):
    names = set(public(module, kind)) - OPEN
    assert len(names) > 10
    assert names - {row.name for row in rows} == set(), "public names without a row in tests/specs.py"
    assert {row.name for row in rows} - names == set(), "rows without a public name"


@pytest.mark.parametrize(("module", "rows"), [(pn, LAYERS), (pn.losses, LOSSES)])
def test_every_row_is_proven_and_derived(module, rows):
    for row in rows:
        assert row.make().proven, row.name
        doc = inspect.getdoc(getattr(module, row.name))
        for section in ("Derivation:", "References:", "Example:", "Raises:"):
            assert section in doc, f"{row.name} has no {section}"
