"""How programs with a planted NaN or infinity, and healthy ones, are kept for the tests."""

import numpy as np

CASES = {}
HEALTHY = {}


def planted(*args, kind="nan", direction="forward"):
    """Keeps a function that makes one in the line that says `# here`, with its arguments and what is to be found."""

    def keep(fn):
        CASES[fn.__name__] = (fn, args, kind, direction)
        return fn

    return keep


def healthy(*args):
    """Keeps a function that raises no alarm, with its arguments."""

    def keep(fn):
        HEALTHY[fn.__name__] = (fn, args)
        return fn

    return keep


def few(*numbers):
    return np.array(numbers, np.float32)
