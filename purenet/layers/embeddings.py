"""Vectors for words, and words for vectors: embedding and unembed, which may share one table."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenet.contract import Layer, Spec, Tree, layer
from purenet.errors import ShapeError, StructureError, describe, expect_array, expect_key, is_whole
from purenet.layers.positions import expect_embedding
from purenet.layers.products import product

Initializer = Callable[..., jax.Array]
_NORMAL = jax.nn.initializers.normal(1.0)


def embedding(
    vocabulary: int,
    features: int,
    *,
    embedding_init: Initializer = _NORMAL,
    dtype: Any = jnp.float32,
) -> Layer:
    """A vector for each of V words, y = E_x: row x of a table E.

    A word outside 0 … V-1, such as -1, gives NaN, and so does its gradient, in the row next to it.

    Args:
      vocabulary: the number V of words, 1 or more.
      features: the number C of features of a vector, 1 or more.
      embedding_init: makes E, shape (V, C), from a key; any of `jax.nn.initializers`.
      dtype: the floating dtype of E, as that of x says nothing.

    Returns:
      A layer from integers of any shape (…) to (…, C); params `{"embedding": E}`. Integers have no cotangent: dJ/dx is
      zeros of dtype float0, as in JAX.

    Raises:
      ShapeError: if `vocabulary` or `features` is below 1; at trace time, for a table of another shape.
      StructureError: if they are not whole numbers, or `dtype` is not a floating dtype that JAX keeps; at trace time,
        if x is not one array of integers, or for other params.

    Derivation:
      y = Eᵀ e(x) with the unit vectors e, so with δ = dJ/dy, dJ/dE = Σ e(x) δᵀ over all words of the mini-batch: each δ
      is added to the row of its word.

    References:
      Bengio, Ducharme, Vincent and Jauvin (2003), A neural probabilistic language model, section 2.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.embedding(3, 2)
      >>> params = {"embedding": jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])}
      >>> net.apply(params, jnp.array([2, 0])).tolist()
      [[5.0, 6.0], [1.0, 2.0]]
      >>> net.apply(params, jnp.array(-1)).tolist()
      [nan, nan]
    """
    for what, value in {"vocabulary": vocabulary, "features": features}.items():
        if not is_whole(value):
            raise StructureError(
                f"embedding: expected {what} to be a whole number, got {describe(value)}. Give an int."
            )
        if value < 1:
            raise ShapeError(f"embedding: expected {what} of 1 or more, got {value}. Give their number.")
    made = _checked_dtype(dtype)
    shape = (int(vocabulary), int(features))

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        _expect_words(spec, "spec")
        expect_key(key)
        return {"embedding": embedding_init(key, shape, made)}, ()

    def check(params: Tree, x: Spec) -> None:
        _expect_words(x, "x")
        expect_embedding(params, shape)

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return _looked_up(params["embedding"], jnp.asarray(x))

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        return _looked_up(params["embedding"], xs), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        ys = _looked_up(params["embedding"], xs)
        return ys, state, jax.tree_util.Partial(_add_up(shape), xs)

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name="embedding")


def unembed(table: Layer) -> Layer:
    """Scores every word by the embedding's own table, y = x Eᵀ: weight tying.

    It has no params of its own: in a `graph` that holds the embedding too, it is given that one's, and the gradients of
    both add up. Only such a graph can initialise it.

    Args:
      table: the layer that `pn.embedding` made.

    Returns:
      A layer from (…, C) to (…, V), for any axes in front, in the dtype of E; params `{"embedding": E}`, those of the
      embedding.

    Raises:
      StructureError: if `table` is not an embedding, or `init` is called outside a graph; at trace time, for other
        dtypes or other params.
      ShapeError: at trace time, if x has not C features on its last axis.

    Derivation:
      A dense layer with kernel Eᵀ and no bias: with δ = dJ/dy and all words as rows, dJ/dE = δᵀx and dJ/dx = δE.

    References:
      Press and Wolf (2017), Using the output embedding to improve language models.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> table, words = pn.embedding(7, 4), pn.node("words")
      >>> net = pn.graph(words, pn.unembed(table)(table(words)))
      >>> params, state = net.init(jax.random.key(0), pn.spec(5, jnp.int32))
      >>> net.apply(params, jnp.arange(5)).shape, sum(a.size for a in jax.tree.leaves(params))
      ((5, 7), 28)
    """
    if not isinstance(table, Layer) or table.name != "embedding":
        came = f"the layer {table!r}" if isinstance(table, Layer) else describe(table)
        raise StructureError(f"unembed: expected the layer that pn.embedding made, got {came}. Keep it in a variable.")
    word = jax.ShapeDtypeStruct((), jnp.int32)
    shape = jax.eval_shape(lambda: table.init(jax.random.key(0), word))[0]["embedding"].shape

    def init(key: Any, spec: Spec) -> tuple[Tree, Tree]:
        raise StructureError(
            "expected to be in a graph with its embedding, whose params it uses, got a call of init. Write "
            "pn.graph(words, pn.unembed(table)(…(table(words)))) and initialise that."
        )

    def check(params: Tree, x: Spec) -> None:
        expect_embedding(params, shape)
        e = params["embedding"]
        expect_array(x)
        if x.shape[-1:] != e.shape[1:]:
            raise ShapeError(
                f"expected x with {e.shape[1]} features on its last axis, got {x.shape}. "
                "Those of the embedding are as many."
            )
        if x.dtype != e.dtype:
            raise StructureError(
                f"expected x of dtype {e.dtype}, that of the embedding, got {x.dtype}. "
                "Cast x or the parameters with astype."
            )

    def apply(params: Tree, x: jax.Array) -> jax.Array:
        return jnp.dot(x, params["embedding"].T)

    def forward(params: Tree, xs: jax.Array, state: Tree, key: Any) -> tuple[jax.Array, Tree]:
        ys = product(_rows(xs), params["embedding"].T)
        return jnp.reshape(ys, (*xs.shape[:-1], ys.shape[1])), state

    def vjp(params: Tree, xs: jax.Array, state: Tree, key: Any) -> Any:
        return *forward(params, xs, state, key), jax.tree_util.Partial(_untie, params["embedding"], xs)

    return layer(apply, init=init, forward=forward, vjp=vjp, check=check, name="unembed", owner=table)


def _looked_up(table: jax.Array, words: jax.Array) -> jax.Array:
    """The rows of the table; NaN for words that it has not, by a factor, so that their gradient is NaN, too.

    Backwards, autodiff adds rows one by one, as the hand rule does. That took one core 0.02 ms for V = 65, C = 128 and
    768 words inside a scan, and 0.3 and 2.9 ms for V = 10,000 and 50,000; as a product with unit vectors 0.15, 29 and
    146 ms.
    """
    inside, exists = _inside(words, len(table))
    return jnp.take(table, inside, axis=0, mode="clip") * _factor(exists, table.dtype)


def _inside(words: jax.Array, vocabulary: int) -> tuple[jax.Array, jax.Array]:
    """The nearest words that there are, and whether they are those that were asked for."""
    words = words if words.dtype.itemsize >= 4 else words.astype(jnp.int32)  # V may not fit in fewer bits
    inside = jnp.clip(words, 0, vocabulary - 1)
    return inside, inside == words


def _factor(exists: jax.Array, dtype: Any) -> jax.Array:
    return jnp.where(exists, jnp.ones((), dtype), jnp.asarray(jnp.nan, dtype))[..., None]


@functools.cache  # one function a table, so that equal pullbacks have equal tree structures
def _add_up(shape: tuple[int, int]) -> Callable[..., tuple[Tree, Any]]:
    def pullback(words: jax.Array, dys: jax.Array) -> tuple[Tree, Any]:
        inside, exists = _inside(words, shape[0])
        deltas = jnp.reshape(dys * _factor(exists, dys.dtype), (-1, shape[1]))
        table = jnp.zeros(shape, dys.dtype).at[jnp.ravel(inside)].add(deltas)
        return {"embedding": table}, np.zeros(words.shape, jax.dtypes.float0)

    return pullback


def _untie(table: jax.Array, xs: jax.Array, dys: jax.Array) -> tuple[Tree, jax.Array]:
    deltas = _rows(dys)
    return {"embedding": product(deltas.T, _rows(xs))}, jnp.reshape(product(deltas, table), xs.shape)


def _rows(a: jax.Array) -> jax.Array:
    return jnp.reshape(a, (-1, a.shape[-1]))


def _expect_words(x: Spec, what: str) -> None:
    if not isinstance(x, jax.ShapeDtypeStruct):
        raise StructureError(f"expected {what} to be one array, got {describe(x)}. Pick one, or use jnp.asarray.")
    if not jnp.issubdtype(x.dtype, jnp.integer):
        remedy = (
            "Use pn.spec(shape, jnp.int32)." if what == "spec" else "Convert the words, such as x.astype(np.int32)."
        )
        raise StructureError(f"expected {what} of integer dtype, the numbers of words, got {x.dtype}. {remedy}")


def _checked_dtype(dtype: Any) -> Any:
    try:
        wanted = jnp.dtype(dtype)
    except TypeError:
        raise StructureError(
            f"embedding: expected dtype to be a floating dtype, got {describe(dtype)}. Give one such as jnp.float32."
        ) from None
    if not jnp.issubdtype(wanted, jnp.floating) or jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise StructureError(
            f"embedding: expected a floating dtype that JAX keeps, got {wanted}. "
            'Give one such as jnp.float32, or switch 64 bits on: jax.config.update("jax_enable_x64", True).'
        )
    return wanted
