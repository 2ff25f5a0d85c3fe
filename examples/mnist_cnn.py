"""MNIST with a convolutional network: two stages of convolution, batch normalisation and pooling, then dense layers.

60,000 digits of 28×28 pixels to learn from, 10,000 held out; downloaded (11 MB) on first use unless they are there.
The held-out ones are only watched: they choose nothing. Ends with at least 99.2 % of them read rightly, or with an
error.

    python examples/mnist_cnn.py                   some minutes on two cores; the figure goes to out/mnist_cnn.png
    python examples/mnist_cnn.py --data FOLDER     the folder that holds the four MNIST files
    python examples/mnist_cnn.py --epochs 1        shorter, and then the accuracy is not checked
"""

import argparse
import time
from pathlib import Path

import figures
import jax
import jax.numpy as jnp
import numpy as np
import optax

import purenet as pn

EPOCHS, BATCH, RATE, PROMISE = 10, 128, 3e-3, 0.992


def shift(params: tuple, xs: jax.Array, state: tuple, key: jax.Array) -> tuple[jax.Array, tuple]:
    """Moves every image of a mini-batch by up to two pixels, each by its own draw."""
    padded = jnp.pad(xs, ((0, 0), (2, 2), (2, 2), (0, 0)))
    moves = jax.random.randint(key, (len(xs), 2), 0, 5)
    return jax.vmap(lambda image, by: jax.lax.dynamic_slice(image, (*by, 0), xs.shape[1:]))(padded, moves), state


# A layer of our own: at inference an image stays where it is.
shifted = pn.layer(lambda params, x: x, forward=shift, name="shifted")

net = pn.serial(
    *(pn.reshape((28, 28, 1)), shifted),
    *(pn.conv(16, (3, 3)), pn.batch_norm(), pn.relu, pn.max_pool((2, 2))),
    *(pn.conv(32, (3, 3)), pn.batch_norm(), pn.relu, pn.max_pool((2, 2))),
    *(pn.flatten, pn.dense(128), pn.relu, pn.dropout(0.2), pn.dense(10)),
)


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the four files; default: PURENET_DATA, else a download")
    parser.add_argument("--limit", type=int, help="learn from the first so many digits only, and check nothing")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the training digits")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the order of the digits")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the figure")
    args = parser.parse_args(argv)

    (images, labels), test = pn.data.mnist(args.data)  # float32 in 0..1
    train = images[: args.limit], labels[: args.limit]
    steps = args.epochs * pn.steps_per_epoch(len(train[0]), BATCH)
    start = time.perf_counter()
    result = pn.fit(
        net,
        train,
        loss=pn.losses.softmax_cross_entropy,
        optimizer=optax.adam(optax.cosine_decay_schedule(RATE, steps)),
        key=jax.random.key(args.seed),
        batch_size=BATCH,
        epochs=args.epochs,
        validation=test,
        metrics={"accuracy": pn.metrics.accuracy},
        callbacks=[figures.print_epoch],
    )
    accuracy = float(result.history["val_accuracy"][-1])
    print(f"held-out accuracy: {accuracy:.2%}, after {time.perf_counter() - start:.0f} s of training")

    logits = np.asarray(jax.vmap(net.apply, (None, 0, None))(result.params, test[0], result.state))
    figures.curves_and_mistakes(result.history, logits, test, args.out, "mnist_cnn")
    if args.epochs < EPOCHS or args.limit is not None:
        print(f"the promise of {PROMISE:.1%} is checked from {EPOCHS} epochs of all digits on")
    elif accuracy < PROMISE:
        raise SystemExit(f"mnist_cnn: expected a held-out accuracy of {PROMISE:.1%} or more, got {accuracy:.2%}")
    return {"accuracy": accuracy, "history": result.history}


if __name__ == "__main__":
    main()
