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
      at_most: the ratio wanted, or None.
      words: what that means, and what noise leaves open.
    """

    to: str
    ratio: float
    low: float
    high: float
    at_most: float | None
    words: str


@dataclasses.dataclass(frozen=True)
class Row:
    """What one contender of one contest did.

    Attributes:
      suite: the suite's name.
      case: the contest's.
      contender: the contender's.
      per: what the times are given per.
      per_call: how many of these one call does.
      compile_seconds: the first call, less a median call.
      seconds: the time per `per` in every round, in the order of measuring.
      median: of `seconds`.
      low: the least of `seconds`.
      high: the largest of `seconds`.
      agreement: the name of the number on which all contenders must agree.
      result: that number, or None if it is not finite or was not reached.
      tolerance: by how much it may differ, relative to the first contender's.
      comparison: with the first contender; None for itself and for rows with an error.
      error: why the row does not count, or None. Such a row has no times.
    """

    suite: str
    case: str
    contender: str
    per: str
    per_call: int
    agreement: str
    tolerance: float
    compile_seconds: float | None = None
    seconds: tuple[float, ...] = ()
    median: float | None = None
    low: float | None = None
    high: float | None = None
    result: float | None = None
    comparison: Comparison | None = None
    error: str | None = None
