"""The suite `conv`: a training step of a CNN, eight of them at once, and peers."""

from collections.abc import Iterator

from purenet.bench.contests import Contest, Race, Settings, Suite
from purenet.bench.network_contests import many_contest, step_contest
from purenet.bench.networks import cnn_task, make_problem, scaled

CNN = cnn_task(28, (16, 32), 64, batch=128, n=1_280, epochs=2)
_WANTED = {"PyTorch": 1.8, "Keras fit": 3.0, "Flax NNX": 3.0}


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes the contest of one network, and that of eight.

    Args:
      settings: a quick run goes through the data once, and leaves out what is slow: the hand-written step inside of a
        scan, and the eight.

    Yields:
      One contest after the other.
    """
    yield step_contest(scaled(CNN, settings), 1.15, scanned=not settings.quick)
    if not settings.quick:
        yield many_contest(scaled(CNN, settings)._replace(epochs=1), 8, 1.1)


CONV = Suite(
    "a training step of the CNN 3x3x16, 3x3x32, dense 64 on 28x28 images, B=128, and eight such networks",
    contests,
    races=lambda settings: [Race(CNN, _WANTED, make_problem)],
)
