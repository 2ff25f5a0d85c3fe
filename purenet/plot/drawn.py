"""What the drawings share: Matplotlib, imported when the first one is made."""

from typing import Any


def with_matplotlib(caller: str) -> Any:
    """Gives `matplotlib.figure`, or says how to get it.

    Args:
      caller: the function's name.

    Returns:
      The module.

    Raises:
      ImportError: without Matplotlib.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise ImportError(f'plot.{caller}: expected Matplotlib, got none. Run pip install "purenet[plot]".') from error
    return matplotlib.figure
