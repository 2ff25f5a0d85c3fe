"""Networks beyond dense layers that the suites train, with data and first weights that are always the same.

What each kind is, and how its weights lie, says `bench/peers/yardsticks.py`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import purenet as pn
from purenet.bench import networks_by_hand
from purenet.bench.contests import Settings
from purenet.bench.problems import RATE, Problem
from purenet.gradients import Batch
from purenet.updates import plan_epochs

Shapes = tuple[tuple[tuple[int, ...], ...], ...]
Weights = networks_by_hand.Weights

_NAMES = ("kernel", "recurrent", "bias")
_LOSSES = {"cnn": networks_by_hand.cnn, "lstm": networks_by_hand.lstm, "transformer": networks_by_hand.transformer}
_HEAD = 32


class Task(NamedTuple):
    """A network and its data.

    Attributes:
      name: such as "CNN B=128".
      kind: "cnn", "lstm" or "transformer".
      shapes: of the weights, a tuple of shapes a layer.
      example: the shape of one input.
      batch: examples per mini-batch; it divides `n`.
      n: the number of examples.
      epochs: how often one call goes through them.
      dtype: of weights and data.
    """

    name: str
    kind: str
    shapes: Shapes
    example: tuple[int, ...]
    batch: int
    n: int
    epochs: int
    dtype: str = "float32"


def cnn_task(side: int, channels: tuple[int, ...], hidden: int, *, batch: int, n: int, epochs: int) -> Task:
    """A CNN on square images of one channel: 3×3 convolutions, each with a 2×2 maximum, and two dense layers.

    Args:
      side: of the images, divisible by two for every convolution.
      channels: of the convolutions.
      hidden: units of the first dense layer; the second has ten.
      batch: examples per mini-batch.
      n: examples.
      epochs: passes over them.

    Returns:
      The task.
    """
    convolutions = tuple(
        ((3, 3, inputs, outputs), (outputs,)) for inputs, outputs in zip((1, *channels), channels, strict=False)
    )
    flat = (side >> len(channels)) ** 2 * channels[-1]
    shapes = (*convolutions, ((flat, hidden), (hidden,)), ((hidden, 10), (10,)))
    return Task(f"CNN B={batch}", "cnn", shapes, (side, side, 1), batch, n, epochs)


def lstm_task(length: int, inputs: int, hidden: int, *, batch: int, n: int, epochs: int) -> Task:
    """An LSTM over a sequence, and a dense layer of ten outputs on its last one.

    Args:
      length: of the sequences.
      inputs: numbers at each time.
      hidden: the LSTM's units.
      batch: examples per mini-batch.
      n: examples.
      epochs: passes over them.

    Returns:
      The task.
    """
    layer = ((inputs, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
    shapes = (layer, ((hidden, 10), (10,)))
    return Task(f"LSTM {length}x{inputs}-{hidden} B={batch}", "lstm", shapes, (length, inputs), batch, n, epochs)


def transformer_task(tokens: int, length: int, width: int, blocks: int, *, batch: int, n: int, epochs: int) -> Task:
    """A character model: causal blocks with heads of 32, the embedding tied to the output, no biases.

    Args:
      tokens: in the vocabulary.
      length: of the sequences.
      width: of the embedding.
      blocks: how many.
      batch: sequences per mini-batch.
      n: sequences.
      epochs: passes over them.

    Returns:
      The task.
    """
    block = ((width,), (width, 3 * width), (width, width), (width,), (width, 4 * width), (4 * width, width))
    shapes = (((tokens, width), (length, width)), *[block] * blocks, ((width,),))
    return Task(f"transformer {blocks}x{width} B={batch}", "transformer", shapes, (length,), batch, n, epochs)


def make_problem(task: Task) -> Problem:
    """Draws the data and the first weights of a task; its labels are noisy, so that no loss goes to zero.

    Args:
      task: network, data and length.

    Returns:
      What its contenders are given.
    """
    key = jax.random.key(0)
    net, optimizer, spec = build(task.kind, task.shapes), optax.adam(RATE), _spec(task)
    loss = pn.losses.softmax_cross_entropy
    start = pn.train_state(net, optimizer, key, spec)
    return Problem(
        case=task,
        kind=task.kind,
        loss_name=loss.name,
        plan=plan_epochs(task.n, task.batch),
        net=net,
        loss=pn.losses.each(loss) if task.kind == "transformer" else loss,
        loss_by_hand=_LOSSES[task.kind],
        optimizer=optimizer,
        start=start,
        weights=weights_of(task.kind, start.params),
        data=Batch(*_draw(task), None),
    )


def build(kind: str, shapes: Any, activation: str = "relu") -> pn.Layer:
    """Makes the network that has weights of these shapes.

    Args:
      kind: "mlp", "cnn", "lstm" or "transformer".
      shapes: of the weights, a tuple of shapes a layer.
      activation: between the dense layers.

    Returns:
      The network.
    """
    if kind == "transformer":
        return _transformer(shapes)
    if kind == "lstm":
        (_, recurrent, _), (dense, _) = shapes
        return pn.serial(pn.lstm(recurrent[0], outputs="last"), pn.dense(dense[1]))
    between, parts = getattr(pn, activation), list[pn.Layer]()
    convolutions = [kernel for kernel, _ in shapes if len(kernel) == 4]
    for kernel in convolutions:
        parts += [pn.conv(kernel[3], kernel[:2]), between, pn.max_pool((2, 2))]
    if convolutions:
        parts.append(pn.flatten)
    for kernel, _ in shapes[len(convolutions) :]:
        parts += [pn.dense(kernel[1]), between]
    return pn.serial(*parts[:-1])


def weights_of(kind: str, params: Any) -> Weights:
    """Gives params as the hand-written form and the peers have them.

    Args:
      kind: "mlp", "cnn", "lstm" or "transformer".
      params: of the network that `build` makes.

    Returns:
      A tuple of arrays a layer.
    """
    if kind == "transformer":
        table, positions, *blocks, last, _ = params
        return [
            (table["embedding"], positions["embedding"]),
            *[_of_block(block) for block in blocks],
            (last["scale"],),
        ]
    return [tuple(layer[name] for name in _NAMES if name in layer) for layer in params if layer]


def params_of(kind: str, weights: Weights) -> Any:
    """Gives such weights as params, the inverse of `weights_of`.

    Args:
      kind: "mlp", "cnn", "lstm" or "transformer".
      weights: a tuple of arrays a layer.

    Returns:
      Params of the network that `build` makes.
    """
    if kind == "transformer":
        (table, positions), *blocks, (last,) = weights
        ends = {"embedding": table}, {"embedding": positions}
        return (*ends, *[_as_block(block) for block in blocks], {"scale": last}, ())
    net = build(kind, [[a.shape for a in layer] for layer in weights])
    layers = iter(dict(zip(_NAMES if len(layer) == 3 else _NAMES[::2], layer, strict=True)) for layer in weights)
    return tuple(next(layers) if part.name in ("conv", "dense", "lstm") else () for part in net.parts)


def scaled(task: Task, settings: Settings) -> Task:
    """Fits a task to what was asked for: a quick run goes through the data once.

    Args:
      task: network, data and length.
      settings: from the command line.

    Returns:
      The task.
    """
    return task._replace(epochs=1 if settings.quick else task.epochs, dtype=settings.dtype or task.dtype)


def _transformer(shapes: Any) -> pn.Layer:
    (table, positions), *blocks, _ = shapes
    small = jax.nn.initializers.normal(0.02)
    words, embedding = pn.node("words"), pn.embedding(*table, embedding_init=small)
    h = pn.learned_positions(positions[0], embedding_init=small)(embedding(words))
    for _ in blocks:
        h = pn.transformer_block(table[1], table[1] // _HEAD, causal=True, bias=False)(h)
    return pn.graph(words, pn.unembed(embedding)(pn.layer_norm(offset=False)(h)))


def _of_block(params: Any) -> tuple[jax.Array, ...]:
    (((first, look),), ((second, ((up, _, down),)),)) = params
    qkv = jnp.concatenate([look[name]["kernel"] for name in ("query", "key", "value")], axis=1)
    return first["scale"], qkv, look["out"]["kernel"], second["scale"], up["kernel"], down["kernel"]


def _as_block(weights: tuple[jax.Array, ...]) -> Any:
    first, qkv, out, second, up, down = weights
    names, kernels = ("query", "key", "value", "out"), [*jnp.split(qkv, 3, axis=1), out]
    look = {name: {"kernel": kernel} for name, kernel in zip(names, kernels, strict=True)}
    think = (({"kernel": up}, (), {"kernel": down}),)
    return ((({"scale": first}, look),), (({"scale": second}, think),))


def _spec(task: Task) -> jax.ShapeDtypeStruct:
    return pn.spec(task.example, "int32" if task.kind == "transformer" else task.dtype)


def _draw(task: Task) -> tuple[jax.Array, jax.Array]:
    x_key, teacher_key, noise_key = jax.random.split(jax.random.key(1), 3)
    if task.kind == "transformer":  # a walk: the next token is near the last one
        (length,), (tokens, _) = task.example, task.shapes[0][0]
        steps = jax.random.randint(noise_key, (task.n, length + 1), 0, 8)
        walk = (jnp.cumsum(steps, axis=1) + jax.random.randint(x_key, (task.n, 1), 0, tokens)) % tokens
        return walk[:, :-1], walk[:, 1:]
    xs = jax.random.normal(x_key, (task.n, *task.example), task.dtype)
    flat = jnp.reshape(xs, (task.n, -1))
    teacher = jax.random.normal(teacher_key, (flat.shape[1], 10), task.dtype) / flat.shape[1] ** 0.5
    noise = jax.random.gumbel(noise_key, (task.n, 10), task.dtype)
    return xs, jnp.argmax(flat @ teacher + noise, axis=1).astype(jnp.int32)
