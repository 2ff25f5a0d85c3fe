"""A character model of Shakespeare: learns to say the next letter, then writes on its own.

The text is tinyshakespeare, 1.1 million characters; its last tenth is held out. The setting is nanoGPT's for a CPU: 4
blocks of 128 features and 4 heads, 64 characters at a time, 12 windows an update, 2,000 updates; but twice its learning
rate. The loss is the mean over 200 batches of windows of the held-out text; the transformer ends at 1.88 nats a
character or less, or with an error.

    python examples/shakespeare.py                 some minutes on two cores; the figure goes to out/shakespeare.png
    python examples/shakespeare.py --net lstm      an LSTM of 256 units in its place
    python examples/shakespeare.py --data FILE     the text; default: tinyshakespeare/input.txt in PURENET_DATA
    python examples/shakespeare.py --steps 100     shorter, and then the loss is not checked
"""

import argparse
import os
import time
from pathlib import Path

import figures
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import purenet as pn

STEPS, BATCH, LENGTH, WIDTH, BLOCKS, HEADS, UNITS, PROMISE = 2000, 12, 64, 128, 4, 4, 256, 1.88
WARMUP, RATE, LAST_RATE, REPORTS, ESTIMATES = 100, 2e-3, 1e-4, 10, 200
SOURCE = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"

loss = pn.losses.each(pn.losses.softmax_cross_entropy)
small = jax.nn.initializers.normal(0.02)


def transformer(letters: int) -> pn.Layer:
    """Causal blocks; the table of letters serves at both ends."""
    text, table = pn.node("text"), pn.embedding(letters, WIDTH, embedding_init=small)
    h = pn.learned_positions(LENGTH)(table(text))
    for _ in range(BLOCKS):
        h = pn.transformer_block(WIDTH, HEADS, causal=True, bias=False, kernel_init=small)(h)
    return pn.graph(text, pn.unembed(table)(pn.layer_norm(offset=False)(h)))


def lstm(letters: int) -> pn.Layer:
    """A table of letters, one LSTM, and a dense layer at every step."""
    table = pn.embedding(letters, WIDTH, embedding_init=small)
    return pn.serial(table, pn.lstm(UNITS), pn.each(pn.dense(letters)))


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=("transformer", "lstm"), default="transformer")
    parser.add_argument("--data", type=Path, help="the text; default: tinyshakespeare/input.txt in PURENET_DATA")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates")
    parser.add_argument("--estimates", type=int, default=ESTIMATES, help="batches of each estimate of the loss")
    parser.add_argument("--letters", type=int, default=500, help="how many to write in the end")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights, the windows and the writing")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the figure")
    args = parser.parse_args(argv)

    text, alphabet = read(args.data)
    ends = int(0.9 * len(text))
    learned, held_out = jnp.asarray(text[:ends]), jnp.asarray(text[ends:])
    net = {"transformer": transformer, "lstm": lstm}[args.net](len(alphabet))
    print(pn.summary(net, pn.spec(LENGTH, jnp.int32)))

    rate = optax.warmup_cosine_decay_schedule(0.0, RATE, min(WARMUP, args.steps // 2), args.steps, LAST_RATE)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, b1=0.9, b2=0.99, weight_decay=0.1, mask=lambda params: jax.tree.map(is_matrix, params)),
    )
    state = pn.train_state(net, optimizer, jax.random.key(args.seed), pn.spec(LENGTH, jnp.int32))
    train, estimate = make_training(net, optimizer, learned), make_estimate(net, held_out, args.estimates)
    losses, estimates, start = [], [(0, float(estimate(state.params)))], time.perf_counter()
    for part in np.diff(np.linspace(0, args.steps, REPORTS + 1).astype(int)):
        state, part_losses = train(state, int(part))
        losses.extend(np.asarray(part_losses))
        estimates.append((len(losses), float(estimate(state.params))))
        seconds = time.perf_counter() - start
        print(f"update {len(losses):5d}   loss {losses[-1]:.4f}   held out {estimates[-1][1]:.4f}   {seconds:4.0f} s")

    written = WRITERS[args.net](net, state.params, args.letters, jax.random.key(args.seed))
    sample = "".join(alphabet[i] for i in np.asarray(written))
    print(f"\n{sample}\n")
    draw(losses, estimates, args.out)
    last = estimates[-1][1]
    if args.net != "transformer" or args.steps < STEPS or args.estimates < ESTIMATES:
        print(f"the promise of {PROMISE} nats is the transformer's, after {STEPS} updates")
    elif last > PROMISE:
        raise SystemExit(f"shakespeare: expected a held-out loss of {PROMISE} nats or less, got {last:.4f}")
    return {"loss": last, "losses": losses, "sample": sample, "alphabet": alphabet}


def read(path: Path | None) -> tuple[np.ndarray, str]:
    """Reads the text as numbers of letters, and gives the letters in their order."""
    path = path or Path(os.environ.get("PURENET_DATA", ".")) / "tinyshakespeare" / "input.txt"
    if not path.is_file():
        raise SystemExit(
            f"shakespeare: expected the text in {path}, got no file. Fetch {SOURCE} and name it by --data."
        )
    text = path.read_text(encoding="utf-8")
    alphabet = "".join(sorted(set(text)))
    return np.searchsorted(np.array(list(alphabet)), np.array(list(text))).astype(np.int32), alphabet


def windows(text: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cuts a mini-batch of windows at random places, and the same one letter later."""
    starts = jax.random.randint(key, (BATCH, 1), 0, len(text) - LENGTH)
    cut = text[starts + jnp.arange(LENGTH + 1)]
    return cut[:, :-1], cut[:, 1:]


def make_training(net: pn.Layer, optimizer: optax.GradientTransformation, text: jax.Array):
    """Makes `(state, count) -> (state, losses)`: so many updates as one compiled scan over `pn.train_step`."""
    step = pn.train_step(net, loss, optimizer)

    def one(state: pn.TrainState, _: None) -> tuple[pn.TrainState, jax.Array]:
        state, told = step(state, windows(text, jax.random.fold_in(state.key, state.step)))
        return state, told["loss"]

    return jax.jit(lambda state, count: jax.lax.scan(one, state, length=count), static_argnums=1)


def make_estimate(net: pn.Layer, text: jax.Array, batches: int):
    """Makes `params -> loss`, the mean over batches of windows of a text, always the same ones."""

    def of_one(params: tuple, key: jax.Array) -> jax.Array:
        xs, ys = windows(text, key)
        return jnp.mean(jax.vmap(loss.value)(net.forward(params, xs)[0], ys))

    keys = jax.random.split(jax.random.key(1234), batches)
    return jax.jit(lambda params: jnp.mean(jax.lax.map(lambda key: of_one(params, key), keys)))


def write_by_window(net: pn.Layer, params: tuple, count: int, key: jax.Array) -> jax.Array:
    """Writes with a network that sees a window: the last 64 letters, of which the first is a line's end."""

    def one(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        window, last = carry
        letter = jax.random.categorical(key, net.apply(params, window)[last])
        full = last == LENGTH - 1
        window = jnp.where(full, jnp.roll(window, -1), window)
        last = jnp.where(full, last, last + 1)
        return (window.at[last].set(letter), last), letter

    start = jnp.zeros(LENGTH, jnp.int32), jnp.zeros((), jnp.int32)
    return jax.jit(lambda: jax.lax.scan(one, start, jax.random.split(key, count))[1])()


def write_by_carry(net: pn.Layer, params: tuple, count: int, key: jax.Array) -> jax.Array:
    """Writes with the LSTM: the same params in a layer that takes the state where the last letter left it."""
    table, _, dense = net.parts
    going_on = pn.lstm(UNITS, carry=True)

    def one(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        letter, hidden = carry
        ys, hidden = going_on.apply(params[1], (table.apply(params[0], letter[None]), hidden))
        letter = jax.random.categorical(key, dense.apply(params[2], ys)[0])
        return (letter, hidden), letter

    start = jnp.zeros((), jnp.int32), (jnp.zeros(UNITS), jnp.zeros(UNITS))
    return jax.jit(lambda: jax.lax.scan(one, start, jax.random.split(key, count))[1])()


WRITERS = {"transformer": write_by_window, "lstm": write_by_carry}


def is_matrix(a: jax.Array) -> bool:
    """Tells what decays: matrices, but not the scales of norms and not biases."""
    return a.ndim >= 2


def draw(losses: list, estimates: list, folder: Path) -> None:
    """Draws every update's loss, and the estimates."""
    figure, axes = plt.subplots(figsize=(8, 4))
    axes.plot(np.arange(1, len(losses) + 1), losses, color=figures.SKY, linewidth=0.8, label="each update")
    axes.plot(*zip(*estimates, strict=True), "o-", color=figures.VERMILION, label="held out")
    axes.set(xlabel="update", ylabel="loss (nats a character)", title="Learning to say the next letter")
    axes.legend()
    figures.save(figure, folder, "shakespeare")


if __name__ == "__main__":
    main()
