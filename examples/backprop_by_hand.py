"""Backpropagation number by number, on the two-layer sigmoid net that many a tutorial works out on paper.

Two inputs, two hidden neurons, two outputs; weights w1…w4 into the hidden neurons, w5…w8 into the outputs:

    net h1 = w1 i1 + w2 i2 + b1,   h1 = σ(net h1),      net o1 = w5 h1 + w6 h2 + b2,   o1 = σ(net o1)
    net h2 = w3 i1 + w4 i2 + b1,   h2 = σ(net h2),      net o2 = w7 h1 + w8 h2 + b2,   o2 = σ(net o2)

Every number comes from the net's own functions, in float64: forward and backward pass layer by layer from each layer's
`vjp`, the rule derived by hand; the gradient from `pn.backprop`, which chains these rules, and beside it from
`pn.value_and_grad`, which differentiates automatically.

The biases: on paper b1 and b2 are one number a layer and are never changed. Here every neuron has a bias of its own,
which begins at that number. Their derivatives are shown; the one for the shared number is the sum over its neurons. The
step leaves them as they are, as on paper.

    python examples/backprop_by_hand.py
    python examples/backprop_by_hand.py --steps 100    fewer steps at the end; then the last loss is not checked
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax

import purenet as pn

STEPS, RATE, PROMISE = 10_000, 0.5, 1e-4

net = pn.serial(pn.dense(2), pn.sigmoid, pn.dense(2), pn.sigmoid)
loss = pn.losses.half_squared_error


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of gradient descent at the end")
    args = parser.parse_args(argv)
    with jax.enable_x64(True):
        facts = run(args.steps)
    if args.steps < STEPS:
        print(f"the last loss is checked from {STEPS} steps on")
    elif facts["last loss"] > PROMISE:
        raise SystemExit(f"backprop_by_hand: expected a last loss below {PROMISE}, got {facts['last loss']}")
    return facts


def run(steps: int) -> dict[str, float]:
    # A kernel has a column for each neuron, so the weights of h1, w1 and w2, stand below each other.
    params = (
        {"kernel": jnp.array([[0.15, 0.25], [0.20, 0.30]]), "bias": jnp.array([0.35, 0.35])},
        (),
        {"kernel": jnp.array([[0.40, 0.50], [0.45, 0.55]]), "bias": jnp.array([0.60, 0.60])},
        (),
    )
    x, target = jnp.array([0.05, 0.10]), jnp.array([0.01, 0.99])
    batch = (x[None], target[None])  # a mini-batch of one example

    print("Forward, layer by layer")
    facts, values, pullbacks = {}, x[None], []
    for layer, weights, names in zip(net.parts, params, ("net h", "h", "net o", "o"), strict=True):
        values, _, pullback = layer.vjp(weights, values)
        pullbacks.append(pullback)
        facts |= show(names, values)
    facts["loss"] = float(loss.value(values[0], target))
    print(f"  {'loss ½ Σ (o - target)²':24}{facts['loss']:.9f}")

    print("Backward, layer by layer")
    deltas = loss.grad(values[0], target)[None]
    facts |= show("dL/do", deltas)
    for pullback, names in zip(reversed(pullbacks), ("dL/d net o", "dL/dh", "dL/d net h", "dL/di"), strict=True):
        _, deltas = pullback(deltas)
        facts |= show(names, deltas)

    optimizer = optax.chain(optax.sgd(RATE), optax.masked(optax.set_to_zero(), is_bias))
    start = pn.train_state(net, optimizer, jax.random.key(0), pn.spec(2, jnp.float64), params=params)
    (_, _), by_hand = pn.backprop(net, loss)(params, start.state, batch)
    (_, _), by_jax = pn.value_and_grad(net, loss)(params, start.state, batch)
    after, _ = pn.train_step(net, loss, optimizer)(start, batch)
    facts["first loss after"] = float(loss.value(net.apply(after.params, x), target))

    print(f"Gradient{'by hand':>20}{'automatic':>14}{f'weight after a step of rate {RATE}':>34}")
    for (name, hand), auto, new in zip(
        named(by_hand).items(), named(by_jax).values(), named(after.params).values(), strict=True
    ):
        print(f"  dL/d{name:9}{hand:14.9f}{auto:14.9f}{new:34.9f}")
        facts |= {f"dL/d{name}": hand, f"automatic dL/d{name}": auto, name: new}
    for i, name in enumerate(("b1", "b2")):
        facts[f"dL/d{name}"] = float(by_hand[2 * i]["bias"].sum())
        print(f"  dL/d{name} of the one number that the layer shares on paper: {facts[f'dL/d{name}']:.9f}")

    final, _ = jax.jit(pn.train(net, loss, optimizer, epochs=steps))(start, batch)
    answers = net.apply(final.params, x)
    facts["last loss"] = float(loss.value(answers, target))
    print(f"Loss after 1 step {facts['first loss after']:.9f}, after {steps} steps {facts['last loss']:.10f},")
    print(f"  the answers then {answers[0]:.9f} and {answers[1]:.9f} for targets {target[0]} and {target[1]}")
    return facts | warm_up()


def warm_up() -> dict[str, float]:
    """Two formulas by `jax.grad`: a derivative says how much J changes when one number does."""
    a, b, c = 6.0, 4.0, 2.0
    dj = jax.grad(lambda a, b, c: 3 * (a * b + c), argnums=(0, 1, 2))(a, b, c)
    print(f"J = 3 (a b + c) at a = 6, b = 4: dJ/da = 3b = {dj[0]}, dJ/db = 3a = {dj[1]}, dJ/dc = {dj[2]}")
    f, df = jax.value_and_grad(lambda x, y, z: (x + y) * z, argnums=(0, 1, 2))(2.0, 5.0, -4.0)
    print(f"f = (x + y) z at 2, 5, -4: f = {f}, df/dx = z = {df[0]}, df/dy = z = {df[1]}, df/dz = x + y = {df[2]}")
    named = dict(zip(("dJ/da", "dJ/db", "dJ/dc", "f", "df/dx", "df/dy", "df/dz"), (*dj, f, *df), strict=True))
    return {name: float(value) for name, value in named.items()}


def show(names: str, pair: jax.Array) -> dict[str, float]:
    """Prints two numbers of a layer, and gives them by name."""
    first, second = np.asarray(pair)[0].tolist()
    print(f"  {f'{names}1, {names[-1]}2':24}{first:.9f}   {second:.9f}")
    return {f"{names}1": first, f"{names}2": second}


def named(params: tuple) -> dict[str, float]:
    """Gives a tree of weights, or their gradient, under the names on paper."""
    numbers = np.concatenate([params[0]["kernel"].T.ravel(), params[2]["kernel"].T.ravel()]).tolist()
    biases = np.concatenate([params[0]["bias"], params[2]["bias"]]).tolist()
    weights = {f"w{i}": number for i, number in enumerate(numbers, 1)}
    return weights | dict(zip(("b1 of h1", "b1 of h2", "b2 of o1", "b2 of o2"), biases, strict=True))


def is_bias(params: tuple) -> tuple:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1] == jax.tree_util.DictKey("bias"), params)


if __name__ == "__main__":
    main()
