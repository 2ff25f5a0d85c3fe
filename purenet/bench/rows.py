"""A row of results: the schema of the JSON file, whose table is one view of it."""

import dataclasses

# Raised when the meaning of a field changes or one goes; new fields do not raise it.
SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A contender's time beside the first contender's.

    Attributes:
      to: the name of the first contender.
      ratio: the median time divided by the other's median time; above 1 is slower.
      low: the first quartile of the ratios within each round.
      high: the third quartile of the ratios within each round.
      at_most: the largest ratio wanted, or None.
      words: what that means, and what noise leaves open.
      at_least: the smallest ratio wanted, for a peer that should be slower, or None.
    """

    to: str
    ratio: float
    low: float
    high: float
    at_most: float | None
    words: str
    at_least: float | None = None


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a median time means in examples, arithmetic and memory.

    Attributes:
      examples: per second.
      flops: floating-point operations of matrix products and convolutions per second.
      bytes: per second, of those that have to move.
      limit: what keeps the work from being faster, "matmul" or "memory".
      limit_seconds: the least time that the measured peaks allow for one unit of work.
      of_limit: that time divided by the median time; 1 is the limit itself.
    """

    examples: float
    flops: float
    bytes: float
    limit: str
    limit_seconds: float
    of_limit: float


@dataclasses.dataclass(frozen=True)
class Row:
    """What one contender of one contest did.

    Attributes:
      suite: the suite's name.
      case: the contest's.
      contender: the contender's.
      per: what the times are given per.
      per_call: how many of these one call does.
      compile_seconds: the first call, less a median call; None where nothing is compiled on the way.
      seconds: the time per `per` in every round, in the order of measuring.
      median: of `seconds`.
      low: the least of `seconds`.
      high: the largest of `seconds`.
      agreement: the name of the number on which all contenders must agree; None if there is none.
      result: that number, or None if it is not finite or was not reached.
      tolerance: by how much it may differ, relative to the first contender's.
      comparison: with the first contender; None for itself and for rows with an error.
      error: why the row does not count, or None. Such a row has no times.
      arithmetic: the type of the numbers, and how products are rounded if that is coarser; None where the type
        does not matter.
      rates: what the median means; None where the contest has no cost, and for rows with an error.
      process: whether every round was a process of its own.
      versions: of the packages that ran, for a process of its own.
    """

    suite: str
    case: str
    contender: str
    per: str
    per_call: int
    agreement: str | None
    tolerance: float
    compile_seconds: float | None = None
    seconds: tuple[float, ...] = ()
    median: float | None = None
    low: float | None = None
    high: float | None = None
    result: float | None = None
    comparison: Comparison | None = None
    error: str | None = None
    arithmetic: str | None = None
    rates: Rates | None = None
    process: bool = False
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
