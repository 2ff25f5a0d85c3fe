"""Tracing a function so that every operation tells which layer of a network it belongs to."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from purenet.contract import Tree
from purenet.insight.programs import MARK, Body, body_of
from purenet.recording import Call, recording


class Traced(NamedTuple):
    """A traced function.

    Attributes:
      closed: the program, with its constants.
      out: the structure of its result, with specs for leaves.
    """

    closed: Any
    out: Tree

    @property
    def body(self) -> Body:
        """The program and its constants."""
        return body_of(self.closed)


def trace_marked(fn: Callable[..., Any], args: tuple[Any, ...]) -> Traced:
    """Traces a function; what layers do in it carries their place in its name stack."""

    def mark(call: Call, run: Callable[..., Any]) -> Any:
        with jax.named_scope(MARK + call.path):
            return run(*call.args)

    with _anew(), recording(mark):
        return Traced(*jax.make_jaxpr(fn, return_shape=True)(*args))


def _anew() -> Any:
    """Makes JAX trace jitted functions again that it knows already, without marks.

    What it keeps is kept for the settings at the time: this one names the device that is taken anyway.
    """
    return contextlib.nullcontext() if jax.config.jax_default_device else jax.default_device(jax.devices()[0])
