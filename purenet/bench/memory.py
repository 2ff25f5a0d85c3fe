"""What happens when a contest does not fit into the device's memory: half the size, and a word about it."""

from collections.abc import Callable

from purenet.bench.contests import Contest
from purenet.bench.problems import Case

_NARROWEST = 32


def is_out_of_memory(message: str | None) -> bool:
    """Tells XLA's and NumPy's errors about memory from others.

    Args:
      message: an error's type and text, or None.

    Returns:
      Whether it says that there is no room.

    Example:
      >>> is_out_of_memory("JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes.")
      True
    """
    text = (message or "").lower()
    return any(word in text for word in ("resource_exhausted", "out of memory", "memoryerror", "unable to allocate"))


def shrinking(make: Callable[[Case], Contest], case: Case, note: str = "") -> Contest:
    """Makes a contest, of half the width as long as there is no room for it.

    Args:
      make: makes the contest of a case.
      case: the size to begin with.
      note: what has been halved before.

    Returns:
      The contest; its `smaller` makes the next one, should it run out of memory while it runs.

    Raises:
      Exception: what `make` raises for other reasons, or for want of memory at the smallest width.
    """
    half = case._replace(widths=tuple(max(1, width // 2) for width in case.widths))
    said = f"{case.name} ran out of memory: half the width"
    last = min(half.widths) < _NARROWEST
    try:
        contest = make(case)._replace(note=note)
    except Exception as error:  # the kind of error differs by who ran out, XLA or NumPy
        if last or not is_out_of_memory(f"{type(error).__name__}: {error}"):
            raise
    else:
        return contest if last else contest._replace(smaller=lambda: shrinking(make, half, said))
    return shrinking(make, half, said)
