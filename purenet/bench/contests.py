"""What a suite is made of: contests, in which contenders do the same work."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple


class Contender(NamedTuple):
    """One way of doing the work.

    Attributes:
      name: shown in its row.
      call: does the work once; its first call compiles.
      result: takes what `call` returned and gives the number on which all contenders must agree.
      at_most: the time wanted, as a multiple of the first contender's; None wants nothing.
    """

    name: str
    call: Callable[[], Any]
    result: Callable[[Any], float]
    at_most: float | None = None


class Contest(NamedTuple):
    """Contenders that do the same work on the same data; the first is the one the others are compared with.

    Attributes:
      case: what the work is, such as "784-128-10 B=128".
      per: what a time is given per, such as "step".
      per_call: how many of these one call does.
      agreement: what the contenders' `result` is, such as "last loss".
      tolerance: by how much it may differ, relative to the first contender's.
      contenders: the ways of doing it.
    """

    case: str
    per: str
    per_call: int
    agreement: str
    tolerance: float
    contenders: Sequence[Contender]


class Suite(NamedTuple):
    """Contests with one theme.

    Attributes:
      summary: one line for `--list`.
      contests: `(quick) -> contests`, made one by one so that only one's data is in memory.
    """

    summary: str
    contests: Callable[[bool], Iterator[Contest]]
