"""The formula by which a layer goes back: the derivation in its docstring, or what stands in for it."""

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

_SECTION = re.compile(r"^Derivation:\n((?:[ \t]+.*\n|\n)+)", re.MULTILINE)


def formula_of(rule: Callable[..., Any], name: str) -> str:
    """Tells by what formula a layer's `vjp` goes back.

    Args:
      rule: the function behind `vjp`.
      name: the layer's name.

    Returns:
      The text of the section `Derivation` of the layer's docstring, in one line; else who derived the rule.
    """
    module = str(getattr(rule, "__module__", ""))
    if module == "purenet.contract":
        return "jax.vjp: no hand rule"
    maker = getattr(rule, "__qualname__", "").split(".")[0]
    for holder in (_by_name(module, name), getattr(sys.modules.get(module), maker, None), rule):
        text = derivation(inspect.getdoc(holder) if holder is not None else None)
        if text:
            return text
    return f"the hand rule of {name}"


def derivation(doc: str | None) -> str:
    """The section `Derivation` of a docstring in one line; empty without one."""
    found = _SECTION.search((doc or "") + "\n")
    return " ".join(found.group(1).split()) if found else ""


def _by_name(module: str, name: str) -> Any:
    """A layer of purenet's by its name: several share one maker of rules, and have derivations of their own."""
    if not module.startswith("purenet."):
        return None
    family = ("purenet.layers.", "purenet.compose.")
    for known, holder in list(sys.modules.items()):
        found = getattr(holder, name, None) if known.startswith(family) else None
        if found is not None and derivation(getattr(found, "__doc__", None) and inspect.getdoc(found)):
            return found
    return None
