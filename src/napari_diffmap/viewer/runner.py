"""Running slow work beside the window: the newest request of a slot wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Token:
    """What running work may ask and tell.

    Parameters
    ----------
    report
        Receives partial results; called from the thread of the work.
    """

    def __init__(self, report: Callable[[Any], None] | None = None) -> None:
        self._stop = False
        self._overtaken = False
        self._report = report

    def cancel(self) -> None:
        """Ask the work to end; its result is dropped."""
        self._stop = True

    def cancelled(self) -> bool:
        """Whether the work should end."""
        return self._stop

    def overtake(self) -> None:
        """Note that a newer request waits."""
        self._overtaken = True

    def overtaken(self) -> bool:
        """Whether a newer request waits: work that is far from its end may give up for it."""
        return self._overtaken

    def report(self, value: Any) -> None:
        """Hand over a partial result."""
        if self._report is not None and not self._stop:
            self._report(value)


Work = Callable[[Token], Any]


class Runner(Protocol):
    """Runs work and calls back in the thread of the window.

    Requests share a *slot* ("virtual images", "pattern"): a newer request
    replaces one that waits and may end one that runs.  Slots do not wait for
    each other.
    """

    def latest(
        self,
        slot: str,
        work: Work,
        done: Callable[[Any], None],
        *,
        failed: Callable[[Exception], None] | None = None,
        partial: Callable[[Any], None] | None = None,
        patience: float = 0.0,
        at_once: bool = False,
    ) -> None:
        """Run `work`; call `done` with its result unless a newer request came.

        The caller waits at most `patience` seconds: what is done by then, or its first part,
        is handed over before this returns.  With `at_once`, what runs in the slot is ended
        and not waited for.
        """

    def cancel(self, slot: str) -> None:
        """Drop what waits in a slot and ask what runs there to end."""

    def one_by_one(self, steps: Sequence[Callable[[], None]]) -> None:
        """Call the steps in order in the thread of the window, which may draw in between."""


class ImmediateRunner:
    """Runs everything at once in the calling thread: scripts and tests."""

    def latest(
        self,
        slot: str,
        work: Work,
        done: Callable[[Any], None],
        *,
        failed: Callable[[Exception], None] | None = None,
        partial: Callable[[Any], None] | None = None,
        patience: float = 0.0,
        at_once: bool = False,
    ) -> None:
        """Run `work` now."""
        del slot, patience, at_once
        try:
            result = work(Token(partial))
        except Exception as error:  # whatever failed belongs to the caller's handler
            if failed is None:
                raise
            failed(error)
            return
        done(result)

    def cancel(self, slot: str) -> None:
        """Nothing ever waits here."""
        del slot

    def one_by_one(self, steps: Sequence[Callable[[], None]]) -> None:
        """Call all steps now."""
        for step in steps:
            step()
