"""What a check tells: law by law what held, what did not and why, as data and as text."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from purenet.errors import ShapeError, StructureError, describe


class Failure(NamedTuple):
    """One broken law at one place.

    Attributes:
      law: the law's name, such as `hand rule`.
      leaf: the path of the array, such as `params['kernel']`; empty if the law is not about one array.
      coordinate: the index of the worst number in it, or None.
      expected: what the law asks for there: a number or words.
      got: what came.
      reason: the likely reason, in words.

    Example:
      >>> import purenet as pn
      >>> print(pn.check.Failure("hand rule", "params['kernel']", (2, 0), 1.5, 3.0, "It is doubled."))
      hand rule: params['kernel'][2, 0]: expected 1.5, got 3. It is doubled.
    """

    law: str
    leaf: str
    coordinate: tuple[int, ...] | None
    expected: Any
    got: Any
    reason: str

    def __str__(self) -> str:
        index = "" if not self.coordinate else "[" + ", ".join(map(str, self.coordinate)) + "]"
        place = f"{self.leaf}{index}: " if self.leaf else ""
        return f"{self.law}: {place}expected {_shown(self.expected)}, got {_shown(self.got)}. {self.reason}".rstrip()


class LawResult(NamedTuple):
    """What became of one law.

    Attributes:
      law: its name.
      held: True or False; None where it does not apply, or was not run.
      gap: the largest difference met, relative to the larger of the two numbers or to the rounding of the sums that
        they come from; None where nothing is measured.
      note: how it was measured, or why it does not apply.
      failures: what broke it.

    Example:
      >>> import purenet as pn
      >>> pn.check.LawResult("jit", True, 2e-16, "", ()).held
      True
    """

    law: str
    held: bool | None
    gap: float | None
    note: str
    failures: tuple[Failure, ...]


@dataclasses.dataclass(frozen=True)
class CheckReport:
    """What a check found; `str` makes a small table of it.

    Attributes:
      subject: what was checked, such as `check.layer: dense`.
      laws: the laws in the order they ran.
      conventions: where the function is not smooth, which of the possible slopes each rule takes.
      measured: by the leaf's path, the gradient that finite differences give at the first point, as a NumPy array; NaN
        where none was taken, or where there is a kink.

    Example:
      >>> import purenet as pn
      >>> report = pn.check.grad(lambda a, b, c: 3 * (a * b + c), 6.0, 4.0, 5.0)
      >>> report.held, len(report.failures)
      (True, 0)
    """

    subject: str
    laws: tuple[LawResult, ...]
    conventions: tuple[str, ...] = ()
    measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def held(self) -> bool:
        """Whether no law is broken."""
        return not self.failures

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What is broken, over all laws."""
        return tuple(failure for result in self.laws for failure in result.failures)

    def __getitem__(self, law: str) -> LawResult:
        """Gives the result of a law by its name."""
        for result in self.laws:
            if result.law == law:
                return result
        raise KeyError(f"{law!r} is none of the laws {[result.law for result in self.laws]}")

    def __str__(self) -> str:
        broken = [result for result in self.laws if result.held is False]
        held = sum(result.held is True for result in self.laws)
        head = f"{self.subject} keeps {held} law{'' if held == 1 else 's'}" + (
            f" and breaks {len(broken)}" if broken else ""
        )
        lines = [head, *(f"  {text}" for text in _told_once(self.failures))]
        width = max((len(result.law) for result in self.laws), default=0)
        for result in self.laws:
            word = {True: "holds", False: "BROKEN", None: "-"}[result.held]
            gap = "" if result.gap is None else f"{result.gap:.1e}"
            lines.append(f"  {result.law:<{width}}  {word:<6}  {gap:>7}  {result.note}".rstrip())
        return "\n".join([*lines, *(f"  {text}" for text in self.conventions)])


class CheckError(AssertionError):
    """A check that found broken laws; the text lists them all.

    Attributes:
      report: the `CheckReport`.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> f = jax.custom_vjp(lambda x: x * x)
      >>> f.defvjp(lambda x: (x * x, x), lambda x, dy: (-2 * x * dy,))
      >>> try:
      ...     pn.check.grad(f, 3.0)
      ... except pn.check.CheckError as error:
      ...     print(error.report.failures[0])
      autodiff: x: expected 6, got -6. The sign is wrong: this is minus the gradient.
    """

    __module__ = "purenet.check"

    def __init__(self, report: CheckReport):
        super().__init__(str(report))
        self.report = report


Law = Callable[[], LawResult]


def absent(law: str, why: str) -> LawResult:
    """The result of a law that does not apply."""
    return LawResult(law, None, None, why, ())


def verdict(law: str, failures: Iterable[Failure], gap: float | None = None, note: str = "") -> LawResult:
    """The result of a law that was run."""
    failures = tuple(failures)
    return LawResult(law, not failures, gap, note, failures)


def chosen(names: Collection[str], laws: Any, skip: Any) -> tuple[str, ...]:
    """Which laws to run: those asked for, or all, without those to skip."""
    for what, given in {"laws": laws, "skip": skip}.items():
        if isinstance(given, str) or not (given is None or isinstance(given, (tuple, list, set, frozenset))):
            raise StructureError(
                f"expected {what} to be a tuple of laws' names, got {describe(given)}. Such as ('hand rule',)."
            )
        for name in given or ():
            if name not in names:
                raise ShapeError(f"expected {what} to name some of {tuple(names)}, got {name!r}. Choose among these.")
    return tuple(name for name in names if (laws is None or name in laws) and name not in (skip or ()))


def attempt(law: str, run: Law) -> LawResult:
    """Runs a law; an error that the subject raises breaks it."""
    try:
        return run()
    except Exception as error:
        raised = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")
        return verdict(law, [Failure(law, "", None, "a result", "an error", f"It raised {raised}")])


def finish(report: CheckReport) -> CheckReport:
    """Returns a report without failures, and raises one with."""
    __tracebackhide__ = True
    if not report.held:
        raise CheckError(report)
    return report


def _told_once(failures: Iterable[Failure]) -> Iterator[str]:
    """What is broken; where one mistake breaks several laws in the same way, the others are only named."""
    alike: dict[Failure, list[Failure]] = {}
    for failure in failures:
        alike.setdefault(failure._replace(law="", expected=str(failure.expected), got=str(failure.got)), []).append(
            failure
        )
    for first, *others in alike.values():
        laws = dict.fromkeys(other.law for other in others if other.law != first.law)
        yield f"{first} The same in: {', '.join(laws)}." if laws else f"{first}"


def _shown(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.10g}"
    return str(value)
