"""explain: a network's forward and backward pass on one example or a mini-batch, layer by layer."""

import functools
import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Tree, as_layer
from purenet.errors import ShapeError, StructureError, by, describe, expect_key
from purenet.gradients import as_batch, differentiate
from purenet.insight.formulas import derivation
from purenet.insight.listening import ExplainRow, Listener
from purenet.insight.programs import array_of, as_numpy, plainly
from purenet.insight.showing import SMALL, kind_text, paragraph_html, statistics_text, table_html, value_text, wrapped
from purenet.losses.base import as_loss
from purenet.recording import recording


class Explanation(NamedTuple):
    """What `explain` gives: its text, by `str` or `print`, tells both passes; a notebook shows them as tables.

    Attributes:
      rows: one for each call of a layer, in the order in which the forward pass enters them; the first is the network.
      loss: the value of the loss J.
      prediction: what the network made of the example.
      target: what it should have made.
      delta: dJ/d(prediction), by the loss's own rule.
      gradient: dJ/d(params), like params.
      loss_name: the name of the loss.
      loss_formula: by which delta comes.
      rate: the learning rate of the step, if one was asked for.
      params: the params.
      updated: the params after one step of gradient descent; None without a rate.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> net, params = pn.dense(1, bias=False), {"kernel": jnp.array([[2.0]])}
      >>> print(pn.explain(net, pn.losses.half_squared_error, params, jnp.array([3.0]), jnp.array([1.0]), rate=0.1))
      J = half_squared_error = 12.5
      <BLANKLINE>
      Forward
      dense
        kernel      [[2]]
        x           [3]
        y           [6]
      <BLANKLINE>
      Backward
      half_squared_error
        p           [6]
        target      [1]
        dJ/dp       [5]
        ...
      dense
        dJ/dy       [5]
        dJ/dkernel  [[15]]
        dJ/dx       [10]
        ...
      <BLANKLINE>
      One step of gradient descent, rate 0.1
        ['kernel']  [[2]] - 0.1 · [[15]] = [[0.5]]
    """

    rows: tuple[ExplainRow, ...]
    loss: jax.Array
    prediction: Tree
    target: Tree
    delta: Tree
    gradient: Tree
    loss_name: str
    loss_formula: str
    rate: float | None
    params: Tree
    updated: Tree

    def __str__(self) -> str:
        lines = [self._title]
        for title, blocks in self._passes:
            lines += ["", title]
            for heading, cells in blocks:
                lines += [*([heading] if heading else []), *_lines(cells)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Explanation({len(self.rows)} calls, J = {value_text(self.loss)})"

    def _repr_html_(self) -> str:
        parts = [paragraph_html(self._title)]
        for title, blocks in self._passes:
            rows = [(heading, what, text) for heading, cells in blocks for what, text in cells]
            parts.append(table_html((title, "what", "value"), rows))
        return "\n".join(parts)

    @property
    def _title(self) -> str:
        return f"J = {self.loss_name} = {value_text(self.loss)}"

    @property
    def _passes(self) -> list[tuple[str, list[tuple[str, list[tuple[str, str]]]]]]:
        shown = _headed([row for row in self.rows if row.shown])
        forward = [(head, _forward_cells(row)) for head, row in shown]
        of_loss = [*_cells("p", self.prediction), *_cells("target", self.target), *_cells("dJ/dp", self.delta)]
        backward = [(self.loss_name, [*of_loss, ("by", self.loss_formula)])]
        backward += [(head, _backward_cells(row)) for head, row in reversed(shown)]
        passes = [("Forward", forward), ("Backward", backward)]
        if self.rate is not None:
            passes.append((f"One step of gradient descent, rate {self.rate:g}", [("", self._steps)]))
        return passes

    @property
    def _steps(self) -> list[tuple[str, str]]:
        new, grads = jax.tree.leaves(self.updated), jax.tree.leaves(self.gradient)
        old = jax.tree_util.tree_leaves_with_path(self.params)
        return [
            (jax.tree_util.keystr(path), f"{_shown(p)} - {self.rate:g} · {_shown(g)} = {_shown(n)}")
            for (path, p), g, n in zip(old, grads, new, strict=True)
            if g.dtype != jax.dtypes.float0
        ]


def explain(
    net: Any,
    loss: Any,
    params: Tree,
    x: Tree,
    y: Tree,
    state: Tree = None,
    key: Any = None,
    *,
    batch: bool = False,
    rate: float | None = None,
) -> Explanation:
    """Explains how a network comes to its loss and its gradient: every layer's numbers, forward and backward.

    Training's own program runs, on one example or a mini-batch, through every layer's hand rule, without compilation
    and with loops unrolled, and each call is written down: input and output, delta = dJ/d(output), dJ/d(params),
    dJ/d(input), and the formula. The text shows arrays of up to 64 numbers in full, and statistics of larger ones.
    Layers made of others are in `rows`; the text shows the layers in them.

    Args:
      net: a layer, or a plain function of one example.
      loss: one of `pn.losses`, or a function `(prediction, target) -> scalar` of one example.
      params: as `net.init` makes them.
      x: one example, or with `batch` a mini-batch of them along the first axis.
      y: its target, or theirs.
      state: as `net.init` makes it; None for a network without.
      key: a random key, for layers that draw.
      batch: whether x and y are mini-batches. Then J is the mean loss, and delta has its 1/B in it.
      rate: a learning rate η, to show one step of gradient descent θ - η dJ/dθ; None for no step.

    Returns:
      The numbers, layer by layer.

    Raises:
      StructureError: if `net` or `loss` is neither, an array is of another kind than expected, or `rate` no number.
      ShapeError: if the network does not take such examples, the loss not such a target, or `rate` is not above 0.

    References:
      Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors.

    Example:
      >>> import jax.numpy as jnp, purenet as pn
      >>> net, params = pn.serial(pn.dense(1), pn.sigmoid), ({"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}, ())
      >>> found = pn.explain(net, pn.losses.half_squared_error, params, jnp.array([1.0, -1.0]), jnp.array([1.0]))
      >>> float(found.loss), found.rows[1].path, found.rows[1].gradient["kernel"].tolist()
      (0.125, 'serial[0].dense', [[-0.125], [0.125]])
    """
    with by("explain"):
        net, loss = as_layer(net), as_loss(loss)
        _expect_options(key, batch, rate)
        for leaf in jax.tree.leaves((params, x, y, state)):
            if isinstance(leaf, jax.core.Tracer):
                raise StructureError("expected values, got a tracer. Call pn.explain outside jit, vmap and grad.")
            array_of(leaf, "Give what net.init made, and examples.")
        params = jax.tree.map(lambda leaf: leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf), params)
        xs, ys = (x, y) if batch else jax.tree.map(lambda a: jnp.asarray(a)[None], (x, y))
        listener = Listener()
        with plainly(), jax.disable_jit(), recording(listener.hear):
            evaluation, gradient = differentiate(net, loss, "backprop")(params, state, as_batch((xs, ys)), key)
            ys = jax.tree.map(jnp.asarray, ys)
            outputs = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), evaluation.predictions)
            loss.check_targets(outputs, jax.tree.map(np.asarray, ys))
    strip = (lambda tree: tree) if batch else _first_of_one
    updated = None if rate is None else jax.tree.map(functools.partial(_stepped, rate), params, gradient)
    rows = tuple(found.row(strip) for found in listener.calls)
    formula = (derivation(inspect.getdoc(loss)) or "the loss's own rule") if loss.proven else "jax.grad"
    return Explanation(
        rows,
        evaluation.value,
        strip(evaluation.predictions),
        strip(ys),
        rows[0].delta,
        gradient,
        loss.name,
        formula,
        rate,
        params,
        updated,
    )


def _expect_options(key: Any, batch: Any, rate: Any) -> None:
    if key is not None:
        expect_key(key)
    if not isinstance(batch, bool):
        raise StructureError(f"expected batch to be True or False, got {describe(batch)}. Give a bool.")
    if rate is None:
        return
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.floating)):
        raise StructureError(f"expected rate to be a number, got {describe(rate)}. Give one such as 0.1.")
    if not rate > 0:
        raise ShapeError(f"expected rate above 0, got {rate}. Give one such as 0.1.")
    if np.isinf(rate):
        raise ShapeError(f"expected a finite rate, got {rate}. Give one such as 0.1.")


def _stepped(rate: float, p: Any, g: Any) -> Any:
    return p if g.dtype == jax.dtypes.float0 else p - jnp.asarray(rate, p.dtype) * g


def _first_of_one(tree: Tree) -> Tree:
    """The one example of a mini-batch of one; what else a layer was given stays as it is."""

    def take(leaf: Any) -> Any:
        return leaf[0] if np.shape(leaf)[:1] == (1,) else leaf

    return jax.tree.map(take, tree)


def _headed(rows: list[ExplainRow]) -> list[tuple[str, ExplainRow]]:
    """The rows with their headings: a layer that is called several times has its calls counted."""
    paths, found, headed = [row.path for row in rows], dict[str, int](), []
    for row in rows:
        found[row.path] = found.get(row.path, 0) + 1
        times = paths.count(row.path)
        headed.append((f"{row.path}, call {found[row.path]} of {times}" if times > 1 else row.path, row))
    return headed


def _forward_cells(row: ExplainRow) -> list[tuple[str, str]]:
    return [*_cells("", row.params), *_cells("x", row.input), *_cells("y", row.output)]


def _backward_cells(row: ExplainRow) -> list[tuple[str, str]]:
    if row.delta is None:
        return [("", "the backward pass did not come by")]
    cells = [*_cells("dJ/dy", row.delta), *_cells("dJ/d", row.gradient), *_cells("dJ/dx", row.input_gradient)]
    return [*cells, ("by", row.formula)]


def _cells(what: str, tree: Tree) -> list[tuple[str, str]]:
    """A line for each array of a tree; those of params have their own names."""
    cells = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        place = jax.tree_util.keystr(path)
        own = what in ("", "dJ/d") and place.startswith("['") and place.endswith("']") and place.count("[") == 1
        text = _shown(leaf)
        if text:
            cells.append((what + (place[2:-2] if own else place), text))
    return cells


def _shown(leaf: Any) -> str:
    """An array in full, or statistics with its norm and its share of zeros."""
    if leaf.dtype == jax.dtypes.float0:
        return ""
    if leaf.size <= SMALL or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return value_text(leaf)
    array = as_numpy(leaf)
    with plainly():
        norm, zeros = np.linalg.norm(array.astype(np.float64)), np.mean(array == 0)
    extra = f" norm {norm:.4g}" + (f" ({zeros:.0%} zeros)" if zeros else "")
    return f"{kind_text(leaf)} {statistics_text(array, leaf.dtype)}{extra}"


def _lines(cells: list[tuple[str, str]]) -> Iterator[str]:
    width = max((len(what) for what, _ in cells if what != "by"), default=0)
    for what, text in cells:
        head, *more = wrapped(text, 114 - width)
        yield f"  {what.ljust(width)}  {head}"
        yield from (f"  {' ' * width}  {line}" for line in more)
