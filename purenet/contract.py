"""The contract: a network is a `Layer`, one immutable value made of pure functions.

    init    (key, spec)              -> (params, state)         spec: that of ONE example, or a pytree of them
    apply   (params, x, state=None)  -> y                       one example, inference; plain JAX
    forward (params, xs, state, key) -> (ys, state)             a mini-batch, training
    vjp     (params, xs, state, key) -> (ys, state, pullback)   the same by hand: pullback(dys) -> (dparams, dxs)
    name, parts                                                 for paths, summaries and tools

Layers, combinators, graphs and user-made layers are all this one type. `params` are what `jax.grad` sees;
`state` is what is learned without gradients, `()` for a layer without. A layer with `parts` keeps one entry
of `params` and one of `state` for each part, in a tuple.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.errors import ShapeError, StructureError, at, describe, expect_kept, expect_like, is_whole, refuse_maker
from purenet.nodes import Node, is_nodes
from purenet.recording import record

Tree = Any
Spec = Any
Check = Callable[[Tree, Spec], None]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """A network: data plus pure functions. Make one with `layer` or with a combinator such as `serial`.

    Layers compare by identity, hash, and pass through `jax.jit` as static arguments.

    Attributes:
      name: the word that stands for the layer in paths and summaries.
      init: `(key, spec) -> (params, state)`.
      apply: `(params, x, state=None) -> y`, one example, inference, in plain JAX.
      forward: `(params, xs, state=None, key=None) -> (ys, state)`, a mini-batch, training.
      vjp: `(params, xs, state=None, key=None) -> (ys, state, pullback)`; `pullback(dys) -> (dparams, dxs)`.
      parts: the layers it is made of.
      owner: the layer whose params it uses in place of its own, such as the embedding of `unembed`; None for most.
      proven: whether it and all its parts carry a backward rule of their own; else `jax.vjp` stands in. For purenet's
        layers the tests prove the rule; yours are proven by `pn.check.layer`.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.serial(pn.dense(3), pn.relu)
      >>> net
      serial(dense, relu)
      >>> params, state = net.init(jax.random.key(0), pn.spec(2))
      >>> net.apply(params, jax.numpy.ones(2)).shape
      (3,)
    """

    name: str
    init: Callable[..., tuple[Tree, Tree]]
    apply: Callable[..., Tree]
    forward: Callable[..., tuple[Tree, Tree]]
    vjp: Callable[..., tuple[Tree, Tree, Callable[[Tree], tuple[Tree, Tree]]]]
    parts: "tuple[Layer, ...]" = ()
    proven: bool = False
    owner: "Layer | None" = None

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.parts))
        return f"{self.name}({inside})" if self.parts else self.name

    def __call__(self, *args: Any) -> Node:
        """Applies the layer to nodes of a `graph`; on anything else it raises, and the message says what to use.

        Args:
          *args: one node, or several for a layer whose input is a tuple.

        Returns:
          The node of the output.

        Raises:
          StructureError: for anything but nodes.
        """
        if is_nodes(args):
            return Node(self, args, self.name)
        if is_nodes(jax.tree.leaves(args)):
            raise StructureError(
                f"{self.name}: expected nodes as separate arguments, got {describe(args[0])}. Write {self.name}(a, b)."
            )
        raise StructureError(
            f"{self.name}: expected no call, got one: it is a layer already. Write it without () in a network, and use "
            "net.apply(params, x) on an example."
        )


def layer(
    apply: Callable[..., Tree],
    *,
    init: Callable[..., tuple[Tree, Tree]] | None = None,
    forward: Callable[..., tuple[Tree, Tree]] | None = None,
    vjp: Callable[..., tuple[Tree, Tree, Callable[[Tree], tuple[Tree, Tree]]]] | None = None,
    name: str | None = None,
    parts: "Sequence[Layer]" = (),
    check: Check | None = None,
    owner: "Layer | None" = None,
) -> Layer:
    """Makes a layer from its functions; what is left out takes the contract's defaults.

    `forward` defaults to `jax.vmap(apply)`. `vjp` defaults to `jax.vjp` of `forward`, and the layer is then
    not `proven`.

    Args:
      apply: `(params, x)` or `(params, x, state)` to `y`, for one example at inference, in plain JAX. Its
        docstring becomes the layer's.
      init: `(key, spec) -> (params, state)`; left out, the layer has neither.
      forward: `(params, xs, state, key) -> (ys, state)` for a mini-batch, where training differs or is faster.
      vjp: `(params, xs, state, key) -> (ys, state, pullback)` for a mini-batch, the backward rule derived by hand:
        `pullback(dys) -> (dparams, dxs)`, with dparams summed over the mini-batch. A pullback that is to leave `jit`
        or `scan` should be a `jax.tree_util.Partial`.
      name: shown in paths and summaries; defaults to the name of `apply`.
      parts: the layers that it is made of.
      check: `(params, spec) -> None`, called before `apply`, `forward` and `vjp` alike with the spec of one example;
        raises, such as `pn.ShapeError(text)`, for one that does not fit. The path is put in front of the text.
      owner: the layer whose params this one uses; only a `graph` that holds both can initialise it.

    Returns:
      The layer.

    Raises:
      StructureError: if `apply` or another argument is not callable, or `init` returns no pair.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> scale = pn.layer(
      ...     init=lambda key, spec: ({"scale": jnp.ones(spec.shape, spec.dtype)}, ()),
      ...     apply=lambda params, x: params["scale"] * x,
      ...     name="scale",
      ... )
      >>> params, state = scale.init(None, pn.spec(2))
      >>> scale.apply(params, jnp.array([1.0, 2.0])).tolist()
      [1.0, 2.0]
      >>> scale.proven
      False
      >>> def rule(params, xs, state, key):  # y = s x: dJ/ds sums over the mini-batch, dJ/dx = s dJ/dy
      ...     def pullback(dys):
      ...         return {"scale": jnp.sum(dys * xs, axis=0)}, dys * params["scale"]
      ...     return params["scale"] * xs, state, jax.tree_util.Partial(pullback)
      >>> pn.layer(scale.apply, init=scale.init, vjp=rule, name="scale").proven
      True
    """
    for what, function in {"apply": apply, "init": init, "forward": forward, "vjp": vjp}.items():
        if not (callable(function) or (function is None and what != "apply")):
            raise StructureError(
                f"layer: expected {what} to be a function, got {describe(function)}. See pn.Layer for the contract."
            )
    if name is None:
        name = getattr(apply, "__name__", "layer").strip("<>")
        name = "layer" if name == "apply" else name
    with_state = _with_state(apply)
    forward = forward or _vmapped(with_state)
    made = Layer(
        name=name,
        init=_pair(name, init),
        apply=_checked_apply(name, check, with_state),
        forward=_checked_batch(name, check, forward, ("ys", "state")),
        vjp=_checked_batch(
            name, check, vjp or _autodiff(forward), ("ys", "state", "pullback"), by_hand=vjp is not None and not parts
        ),
        parts=tuple(parts),
        proven=vjp is not None and all(part.proven for part in parts),
        owner=owner,
    )
    object.__setattr__(made, "__doc__", apply.__doc__ or Layer.__doc__)
    return made


def as_layer(value: Any) -> Layer:
    """Takes a layer as it is and makes one of a plain function of one example, such as `jnp.sin`.

    Args:
      value: a `Layer`, or a function `x -> y`.

    Returns:
      The layer; for a function, one without parameters that is not `proven`.

    Raises:
      StructureError: if it is neither, or a function that *makes* layers and was not called.

    Example:
      >>> import jax.numpy as jnp
      >>> as_layer(jnp.tanh).apply((), jnp.zeros(2)).tolist()
      [0.0, 0.0]
    """
    if isinstance(value, Layer):
        return value
    if not callable(value):
        raise StructureError(
            f"expected a layer or a function of one example, got {describe(value)}. "
            "Give layers as separate arguments, such as pn.serial(pn.dense(3), pn.relu)."
        )
    refuse_maker(value, "layer", ("purenet.layers.", "purenet.compose."), "pn")
    return _layer_of(value)


@functools.lru_cache(maxsize=64)  # one layer a function, so that nothing compiled for it is compiled again
def _layer_of(function: Callable[[Any], Any]) -> Layer:
    name = getattr(function, "__name__", type(function).__name__)
    return layer(apply=lambda params, x: function(x), name=name.strip("<>"))


def spec(shape: int | Sequence[int], dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """Describes one example, without the mini-batch axis.

    Args:
      shape: the example's shape; a whole number n means `(n,)`, `()` a single number.
      dtype: its dtype, float32 unless told.

    Returns:
      A `jax.ShapeDtypeStruct`, which `init` takes (also in a tuple or dict, for several inputs).

    Raises:
      ShapeError: if a size is negative.
      StructureError: if a size is not a whole number, or `dtype` is none or one that JAX would change silently.

    Example:
      >>> import purenet as pn
      >>> pn.spec(784)
      ShapeDtypeStruct(shape=(784,), dtype=float32)
      >>> pn.spec((28, 28)).shape
      (28, 28)
    """
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    for size in sizes:
        if not is_whole(size):
            raise StructureError(
                f"spec: expected sizes that are whole numbers, got {describe(size)}. Give the shape of one example."
            )
        if size < 0:
            raise ShapeError(f"spec: expected sizes of 0 or more, got {shape!r}. Give the shape of one example.")
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise StructureError(f"spec: expected a dtype, got {describe(dtype)}. Give one such as jnp.float32.") from None
    kept = jax.dtypes.canonicalize_dtype(wanted)
    if kept != wanted:
        raise StructureError(
            f"spec: expected a dtype that JAX keeps, got {wanted}, which it would turn into {kept}. "
            f'Use {kept}, or switch 64 bits on: jax.config.update("jax_enable_x64", True).'
        )
    return jax.ShapeDtypeStruct(tuple(int(size) for size in sizes), wanted)


def spec_of(x: Tree) -> Spec:
    """Gives shape and dtype of every leaf, after refusing NumPy dtypes that JAX would change silently."""
    for leaf in jax.tree.leaves(x):
        expect_kept(leaf)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), _dtype(a)), x)


def example_spec(xs: Tree) -> Spec:
    """Gives the spec of one example of a mini-batch.

    Args:
      xs: a pytree of arrays that share their first axis.

    Returns:
      The spec without that axis.

    Raises:
      ShapeError: if a leaf has no axis to take away, or the leaves' first axes differ.
    """
    shapes = [np.shape(a) for a in jax.tree.leaves(xs)]
    if () in shapes:
        raise ShapeError(
            "expected a mini-batch with the examples along the first axis, got a leaf of shape (). "
            "For one example use net.apply."
        )
    if len({shape[0] for shape in shapes}) > 1:
        raise ShapeError(
            f"expected leaves with one common first axis, got the shapes {shapes}. Give all parts of every example."
        )
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], _dtype(a)), xs)


def out_spec(part: Layer, params: Tree, x: Spec, state: Tree) -> Spec:
    """Gives the spec of a layer's output by abstract evaluation: nothing is computed."""
    return jax.eval_shape(part.apply, params, x, state)


def reshape(a: Any, shape: tuple[int, ...]) -> Any:
    """Reshapes a value or a cotangent; the cotangents of integers (float0) live in NumPy."""
    return np.reshape(a, shape) if a.dtype == jax.dtypes.float0 else jnp.reshape(a, shape)


def _dtype(a: Any) -> Any:
    return a.dtype if hasattr(a, "dtype") else jnp.result_type(a)


def _with_state(apply: Callable[..., Tree]) -> Callable[..., Tree]:
    """Lets the author of a layer without state write `apply(params, x)`, with options of its own behind."""
    try:
        parameters = list(inspect.signature(apply).parameters.values())
    except ValueError:  # a builtin without a signature
        return apply
    if len(parameters) == 1 and parameters[0].kind is not parameters[0].VAR_POSITIONAL:
        raise StructureError(
            "layer: expected apply to take (params, x), got a function of one argument. A plain function of one "
            "example needs no pn.layer: put it into pn.serial as it is."
        )
    third = parameters[2] if len(parameters) > 2 else None
    takes_state = third is not None and third.kind in (third.POSITIONAL_ONLY, third.POSITIONAL_OR_KEYWORD)
    if third is not None and takes_state and (third.default is third.empty or third.name == "state"):
        return apply
    return lambda params, x, state: apply(params, x)


def _vmapped(apply: Callable[..., Tree]) -> Callable[..., tuple[Tree, Tree]]:
    def forward(params: Tree, xs: Tree, state: Tree, key: Any) -> tuple[Tree, Tree]:
        return jax.vmap(lambda x: apply(params, x, state))(xs), state

    return forward


def _autodiff(forward: Callable[..., tuple[Tree, Tree]]) -> Callable[..., Any]:
    def vjp(params: Tree, xs: Tree, state: Tree, key: Any) -> Any:
        ys, pullback, state = jax.vjp(lambda p, x: forward(p, x, state, key), params, xs, has_aux=True)
        return ys, state, pullback

    return vjp


def _pair(name: str, init: Callable[..., tuple[Tree, Tree]] | None) -> Callable[..., tuple[Tree, Tree]]:
    def checked_init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        with at(name):
            for leaf in jax.tree.leaves(spec):
                if not isinstance(leaf, jax.ShapeDtypeStruct):
                    raise StructureError(
                        f"expected the spec of one example, got {describe(leaf)}. "
                        "Pass pn.spec(784), pn.spec((28, 28)) or a tree of such."
                    )
            result = init(key, spec) if init else ((), ())
            if not (isinstance(result, tuple) and len(result) == 2):
                raise StructureError(
                    f"expected init to return (params, state), got {describe(result)}. Without state: (params, ())."
                )
            return result

    return checked_init


def _checked_apply(name: str, check: Check | None, apply: Callable[..., Tree]) -> Callable[..., Tree]:
    def called(params: Tree, x: Tree, state: Tree = None) -> Tree:
        with at(name):
            if check is not None:
                check(params, spec_of(x))
            return record("apply", apply, params, x, state)

    return called


def _checked_batch(
    name: str, check: Check | None, function: Callable[..., Any], returns: tuple[str, ...], by_hand: bool = False
) -> Callable[..., Any]:
    kind = "vjp" if len(returns) == 3 else "forward"

    def called(params: Tree, xs: Tree, state: Tree = None, key: Any = None) -> Any:
        with at(name):
            one = example_spec(xs)
            for leaf in jax.tree.leaves(xs):
                expect_kept(leaf)
            if check is not None:
                check(params, one)
            result = record(kind, function, params, xs, state, key)
            if not isinstance(result, tuple) or len(result) != len(returns):
                raise StructureError(
                    f"expected ({', '.join(returns)}) from {kind}, got "
                    f"{describe(result)}. See pn.Layer for the contract."
                )
            ys, new, *pullback = result
            if by_hand:  # JAX's own always fits, and a combinator's is made of its parts'
                _expect_pullback(pullback[0], ys, params, xs)
            # Without arrays in it a state is whatever the caller writes for none: (), None or nested tuples.
            return (ys, new if jax.tree.leaves(new) else state, *pullback)

    return called


def _expect_pullback(pullback: Any, ys: Tree, params: Tree, xs: Tree) -> None:
    """Refuses a hand rule whose cotangents do not fit, by abstract evaluation where the layer is known by name."""
    if any(not jnp.issubdtype(_dtype(leaf), jnp.floating) for leaf in jax.tree.leaves((ys, params, xs))):
        return  # integers' cotangents are of another dtype
    result = jax.eval_shape(pullback, spec_of(ys))
    if not isinstance(result, tuple) or len(result) != 2:
        raise StructureError(f"expected (dparams, dxs) from the pullback, got {describe(result)}. See pn.Layer.")
    remedy = "Sum dparams over the mini-batch, and return (dparams, dxs) in this order."
    expect_like("dparams like params from the pullback", result[0], spec_of(params), remedy)
    expect_like("dxs like xs from the pullback", result[1], spec_of(xs), remedy)
