"""MNIST row by row: an LSTM reads an image as 28 rows of 28 pixels, and answers after the last.

60,000 digits to learn from, 10,000 held out; downloaded (11 MB) on first use unless they are there. The held-out ones
are only watched: they choose nothing. Ends with at least 98 % of them read rightly, or with an error.

    python examples/sequence.py                   some minutes on two cores; the figure goes to out/sequence.png
    python examples/sequence.py --data FOLDER     the folder that holds the four MNIST files
    python examples/sequence.py --epochs 1        shorter, and then the accuracy is not checked
"""

import argparse
import time
from pathlib import Path

import figures
import jax
import numpy as np
import optax

import purenet as pn

EPOCHS, BATCH, RATE, PROMISE = 4, 128, 4e-3, 0.98

net = pn.serial(pn.lstm(128, outputs="last"), pn.dense(10))


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

    logits = np.asarray(jax.vmap(net.apply, (None, 0))(result.params, test[0]))
    figures.curves_and_mistakes(result.history, logits, test, args.out, "sequence")
    if args.epochs < EPOCHS or args.limit is not None:
        print(f"the promise of {PROMISE:.0%} is checked from {EPOCHS} epochs of all digits on")
    elif accuracy < PROMISE:
        raise SystemExit(f"sequence: expected a held-out accuracy of {PROMISE:.0%} or more, got {accuracy:.2%}")
    return {"accuracy": accuracy, "history": result.history}


if __name__ == "__main__":
    main()
