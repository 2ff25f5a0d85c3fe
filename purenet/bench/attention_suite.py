"""The suite `attention`: a training step of a small character transformer, and peers."""

from collections.abc import Iterator

from purenet.bench.contests import Contest, Race, Settings, Suite
from purenet.bench.network_contests import step_contest
from purenet.bench.networks import make_problem, scaled, transformer_task

CHARACTERS = transformer_task(65, 64, 128, 4, batch=12, n=120, epochs=2)
_WANTED = {"PyTorch": 1.4}


def contests(settings: Settings) -> Iterator[Contest]:
    """Makes the one contest.

    Args:
      settings: a quick run goes through the data once.

    Yields:
      The contest.
    """
    yield step_contest(scaled(CHARACTERS, settings), 1.05, scanned=True)


ATTENTION = Suite(
    "a training step of a character transformer: 4 blocks of 128, 4 heads, 64 characters, B=12",
    contests,
    races=lambda settings: [Race(CHARACTERS, _WANTED, make_problem)],
)
