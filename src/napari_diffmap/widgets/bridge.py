"""Between the window and work in threads: newest request wins, jobs report, errors are shown.

Nothing here touches a widget; results always arrive in the thread of the window.
"""

from __future__ import annotations

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal, Slot
from superqt.utils import WorkerBase
from superqt.utils._qthreading import WorkerBaseSignals

from napari_diffmap.errors import CancelledError, DiffmapError
from napari_diffmap.viewer.runner import Token, Work

_log = logging.getLogger(__name__)

#: A running pass is ended for a newer request only when it takes longer than
#: this: shorter ones finish, so that the image follows the mouse.
_PATIENCE = 1.0
#: What is to happen in a turn of its own comes after so many ms: with none, Qt would do it
#: before it looks at the mouse.
_TURN = 1


def one_line(error: BaseException) -> str:
    """What the user is told about an error: one line, in the words of `errors` where it can be."""
    if isinstance(error, DiffmapError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "out of memory: close other programs, or open a smaller part of the scan"
    if isinstance(error, OSError):
        return f"{error.filename or 'file'}: {error.strerror or error}"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"


def report_error(error: BaseException | str) -> None:
    """Show one line as a napari error notification; details go to the log.

    A stopped job is no error.
    """
    from napari.utils.notifications import show_error, show_info

    if isinstance(error, CancelledError):
        show_info(one_line(error))
        return
    if isinstance(error, BaseException):
        _log.debug("shown to the user: %s", one_line(error), exc_info=error)
        error = one_line(error)
    show_error(error)


def try_to(act: Callable[[], object]) -> bool:
    """Do something, or tell the user in one line why it cannot be done; whether it was done."""
    try:
        act()
    except DiffmapError as error:
        report_error(error)
        return False
    return True


def report(line: str) -> None:
    """Show one line of information as a napari notification."""
    from napari.utils.notifications import show_info

    show_info(line)


def spare_the_collector() -> None:
    """Leave what is there now out of Python's garbage collection.

    Half a million objects of the libraries are looked through each time else, which
    stops the window for a fifth of a second; and napari asks for that whenever a
    layer is removed.
    """
    gc.freeze()


@dataclass(eq=False)
class _Request:
    work: Work
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    partial: Callable[[Any], None] | None
    token: Token
    started: float = 0.0
    ended: Event = field(default_factory=Event)
    #: Something came: a partial result or the end.
    ready: Event = field(default_factory=Event)
    first: Any = None
    last: Any = None
    #: What was handed over last, and whether that was the end.
    taken: Any = None
    received: bool = False


#: Slot, request, whom to call, with what, and whether it is the last word.
_Message = tuple[str, _Request, Callable[[Any], None], Any, bool]


class LatestRunner(QObject):
    """Runs the newest request of every slot in a thread (see `viewer.runner.Runner`)."""

    _posted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="diffmap-view")
        self._running: dict[str, _Request] = {}
        self._waiting: dict[str, _Request] = {}
        self._steps = 0
        self._closed = False
        self._posted.connect(self._queue)
        self._mail: deque[_Message] = deque()

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return bool(self._running or self._waiting or self._steps)

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
        """Run `work` in a thread; a newer request of the slot replaces a waiting one."""
        if self._closed:
            return
        request = _Request(work, done, failed or report_error, partial, Token())
        if partial is not None:
            request.token = Token(lambda value: self._post(slot, request, partial, value))
        running = self._running.get(slot)
        if running is not None and at_once:
            running.token.cancel()
            self._waiting.pop(slot, None)
        elif running is not None:
            self._waiting[slot] = request
            running.token.overtake()
            if time.perf_counter() - running.started > _PATIENCE:
                running.token.cancel()
            return
        self._start(slot, request)
        # Waiting here leaves the interpreter to the work.
        if patience and request.ready.wait(patience):
            self._receive(request.last if request.ended.is_set() else request.first)

    def cancel(self, slot: str) -> None:
        """Drop what waits in a slot and end what runs there; its result is not delivered."""
        self._waiting.pop(slot, None)
        running = self._running.get(slot)
        if running is not None:
            running.token.cancel()

    def one_by_one(self, steps: Sequence[Callable[[], None]]) -> None:
        """Call the steps in order, each in a turn of the event loop of its own."""
        self._steps += len(steps)
        self._next(list(steps))

    def _next(self, steps: Sequence[Callable[[], None]]) -> None:
        if steps and not self._closed:
            QTimer.singleShot(_TURN, lambda: self._step(steps))

    def _step(self, steps: Sequence[Callable[[], None]]) -> None:
        if self._closed:
            return
        try:
            steps[0]()
        finally:
            self._steps -= 1
            self._next(steps[1:])

    def close(self) -> None:
        """End everything; nothing is delivered any more."""
        self._closed = True
        self._waiting.clear()
        for request in self._running.values():
            request.token.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._running.clear()

    # -------------------------------------------------------------- inside
    def _start(self, slot: str, request: _Request) -> None:
        request.started = time.perf_counter()
        self._running[slot] = request
        self._pool.submit(self._run, slot, request)

    def _run(self, slot: str, request: _Request) -> None:
        try:
            result = request.work(request.token)
        except Exception as error:  # noqa: BLE001 - every error of the work has its own handler
            self._end(slot, request, request.failed, error)
        else:
            self._end(slot, request, request.done, result)

    def _post(self, slot: str, request: _Request, call: Callable[[Any], None], value: Any) -> None:
        """Deliver a partial result (called from the thread of the work)."""
        message = (slot, request, call, value, False)
        if request.first is None:
            request.first = message
            request.ready.set()
        if not self._closed:
            self._posted.emit(message)

    def _end(self, slot: str, request: _Request, call: Callable[[Any], None], value: Any) -> None:
        request.last = (slot, request, call, value, True)
        request.ended.set()
        request.ready.set()
        if not self._closed:
            self._posted.emit(request.last)

    @Slot(object)
    def _queue(self, message: _Message) -> None:
        """Results that come together are handed over in turns: the window may answer between."""
        self._mail.append(message)
        if len(self._mail) == 1:
            QTimer.singleShot(0, self._deliver)

    def _deliver(self) -> None:
        try:
            self._receive(self._mail[0])
        finally:
            self._mail.popleft()
            if self._mail:
                QTimer.singleShot(_TURN, self._deliver)

    def _receive(self, message: _Message) -> None:
        slot, request, call, value, last = message
        # Handed over already where the window waited for it; parts of it come too late then.
        if self._closed or request.received or message is request.taken:
            return
        request.received, request.taken = last, message
        if last and self._running.get(slot) is request:
            del self._running[slot]
            waiting = self._waiting.pop(slot, None)
            if waiting is not None:
                self._start(slot, waiting)
        if not request.token.cancelled():
            call(value)


class JobSignals(WorkerBaseSignals):
    """Signals of a job besides those every worker has."""

    progressed = Signal(object)
    tile = Signal(object)


class JobWorker(WorkerBase):
    """A long job in a thread of napari's pool, known to napari's task manager.

    A generator worker would lose a RuntimeError, and torch's out-of-memory is
    one; here every error arrives in ``errored``.

    Parameters
    ----------
    func
        Called with this worker; reports through ``progressed`` and ``tile``.
    stop
        Called besides the usual when napari asks the worker to quit.
    """

    def __init__(
        self, func: Callable[[JobWorker], Any], stop: Callable[[], None] | None = None
    ) -> None:
        super().__init__(SignalsClass=JobSignals)
        self._func = func
        self._stop = stop

    def work(self) -> Any:
        """Run the job."""
        return self._func(self)

    def quit(self) -> None:
        """Ask the job to end at its next check."""
        super().quit()
        if self._stop is not None:
            self._stop()


def start_job(
    func: Callable[[JobWorker], Any],
    *,
    stop: Callable[[], None] | None = None,
    returned: Callable[[Any], None],
    errored: Callable[[Exception], None] = report_error,
    finished: Callable[[], None] | None = None,
    progressed: Callable[[Any], None] | None = None,
    tile: Callable[[Any], None] | None = None,
    description: str = "",
) -> JobWorker:
    """Start a job; every slot is called in the thread of the window.

    Parameters
    ----------
    func
        The work; gets the worker for reporting.
    stop
        Called when napari asks the job to quit (the window closes).
    returned, errored, finished, progressed, tile
        Slots.
    description
        Shown in napari's activity dock.  For short jobs that nothing else tells of: its
        turning wheel draws the whole window thirty times a second, which takes more than
        half of the processor where there is no graphics card.
    """
    from napari.qt.threading import create_worker

    worker: JobWorker = create_worker(
        func,
        stop=stop,
        _start_thread=False,
        _worker_class=JobWorker,
        _ignore_errors=True,
        _progress={"desc": description} if description else None,
    )
    worker.returned.connect(returned)
    worker.errored.connect(errored)
    if finished is not None:
        worker.finished.connect(finished)
    if progressed is not None:
        worker.progressed.connect(progressed)
    if tile is not None:
        worker.tile.connect(tile)
    worker.start()
    return worker
