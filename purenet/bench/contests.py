"""What a suite is made of: contests, in which contenders do the same work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """What the command line asks of every suite.

    Attributes:
      quick: whether shorter runs will do.
      dtype: the numbers' type, such as "float32"; None lets a suite take its own.
      peers: the names of the installed peers to race against, from `peers.PEERS`.
    """

    quick: bool = False
    dtype: str | None = None
    peers: tuple[str, ...] = ()


class Contender(NamedTuple):
    """One way of doing the work.

    Attributes:
      name: shown in its row.
      call: does the work once; its first call compiles.
      result: takes what `call` returned and gives the number on which all contenders must agree; None where the
        contest has no such number.
      at_most: the longest time wanted, as a multiple of the first contender's; None wants nothing.
      at_least: the shortest time wanted, likewise, of a peer that the first contender should beat.
    """

    name: str
    call: Callable[[], Any]
    result: Callable[[Any], float] | None
    at_most: float | None = None
    at_least: float | None = None


class Cost(NamedTuple):
    """What one unit of work takes, whoever does it.

    Attributes:
      examples: how many examples it goes through.
      flops: floating-point operations of its matrix products and convolutions, from `pn.flops`.
      bytes: the least that has to move through memory: the state read and written, and the mini-batch read.
    """

    examples: int
    flops: int
    bytes: int


class Contest(NamedTuple):
    """Contenders that do the same work on the same data; the first is the one the others are compared with.

    Attributes:
      case: what the work is, such as "784-128-10 B=128".
      per: what a time is given per, such as "step".
      per_call: how many of these one call does.
      agreement: what the contenders' `result` is, such as "last loss"; None if there is nothing to agree on.
      tolerance: by how much it may differ, relative to the first contender's.
      contenders: the ways of doing it.
      cost: what one unit takes; None where that means nothing.
      dtype: the type of the numbers; None where it does not matter.
      compiles: whether a first call compiles what the later ones run.
      slowness: how many times fewer rounds are enough, for contenders that take seconds.
      smaller: makes the same contest of half the size, for when memory does not suffice; None if there is none.
      note: what has to be said of it, such as that it was halved.
      processes: whether every call is a process of its own, which measures itself.
    """

    case: str
    per: str
    per_call: int
    agreement: str | None
    tolerance: float
    contenders: Sequence[Contender]
    cost: Cost | None = None
    dtype: str | None = "float32"
    compiles: bool = True
    slowness: int = 1
    smaller: Callable[[], "Contest"] | None = None
    note: str = ""
    processes: bool = False


class Race(NamedTuple):
    """Training against peers.

    Attributes:
      case: what they train, from `problems` or `networks`.
      wanted: by contender, how many times as long as `pn.train` it should take at least.
      make: makes the problem of the case.
    """

    case: Any
    wanted: Mapping[str, float]
    make: Callable[[Any], Any]


class Suite(NamedTuple):
    """Contests with one theme.

    Attributes:
      summary: one line for `--list`.
      contests: `(settings) -> contests`, made one by one so that only one's data is in memory.
      races: `(settings) -> races` in which peers take part, in processes of their own; None without.
    """

    summary: str
    contests: Callable[[Settings], Iterator[Contest]]
    races: Callable[[Settings], Sequence[Race]] | None = None
