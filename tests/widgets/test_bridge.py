from __future__ import annotations

import threading
from typing import Any

import pytest

from napari_diffmap.errors import CancelledError, RunError, ScanFileError
from napari_diffmap.viewer.runner import Token
from napari_diffmap.widgets.bridge import LatestRunner, one_line, report_error, start_job


@pytest.fixture
def runner(qtbot: Any) -> Any:
    runner = LatestRunner()
    yield runner
    runner.close()


def test_results_arrive_in_the_thread_of_the_window(qtbot: Any, runner: LatestRunner) -> None:
    seen: list[tuple[Any, Any]] = []
    runner.latest(
        "a", lambda _: threading.get_ident(), lambda r: seen.append((r, threading.get_ident()))
    )
    qtbot.waitUntil(lambda: bool(seen))
    worked, delivered = seen[0]
    assert delivered == threading.get_ident()
    assert worked != delivered


def test_the_newest_of_those_that_wait_wins(qtbot: Any, runner: LatestRunner) -> None:
    gate = threading.Event()
    ran: list[int] = []
    seen: list[int] = []

    def work(i: int) -> Any:
        def run(_: object) -> int:
            ran.append(i)
            gate.wait(5)
            return i

        return run

    for i in range(5):
        runner.latest("a", work(i), seen.append)
    gate.set()
    qtbot.waitUntil(lambda: 4 in seen)
    assert ran == [0, 4]
    assert seen == [0, 4]


def test_slots_do_not_wait_for_each_other(qtbot: Any, runner: LatestRunner) -> None:
    gate = threading.Event()
    seen: list[str] = []
    runner.latest("slow", lambda _: gate.wait(5) and "slow", seen.append)
    runner.latest("fast", lambda _: "fast", seen.append)
    qtbot.waitUntil(lambda: "fast" in seen)
    assert seen == ["fast"]
    gate.set()
    qtbot.waitUntil(lambda: len(seen) == 2)


def test_a_long_pass_ends_for_a_newer_one(
    qtbot: Any, runner: LatestRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_diffmap.widgets.bridge._PATIENCE", 0.0)
    started = threading.Event()
    seen: list[str] = []

    def endless(token: Any) -> str:
        started.set()
        while not token.cancelled():
            pass
        return "old"

    runner.latest("a", endless, seen.append)
    assert started.wait(5)
    runner.latest("a", lambda _: "new", seen.append)
    qtbot.waitUntil(lambda: seen == ["new"])


def test_cancelled_work_is_not_delivered(qtbot: Any, runner: LatestRunner) -> None:
    started, gate = threading.Event(), threading.Event()
    seen: list[str] = []

    def work(_: object) -> str:
        started.set()
        gate.wait(5)
        return "late"

    runner.latest("a", work, seen.append)
    assert started.wait(5)
    runner.cancel("a")
    gate.set()
    qtbot.waitUntil(lambda: not runner.busy)
    assert not seen


def test_partial_results_come_before_the_last(qtbot: Any, runner: LatestRunner) -> None:
    seen: list[int] = []

    def work(token: Any) -> int:
        for i in range(3):
            token.report(i)
        return 99

    runner.latest("a", work, seen.append, partial=seen.append)
    qtbot.waitUntil(lambda: 99 in seen)
    assert seen == [0, 1, 2, 99]


@pytest.mark.parametrize("error", [RuntimeError("x"), ValueError("y"), MemoryError()])
def test_every_error_reaches_its_handler(
    qtbot: Any, runner: LatestRunner, error: Exception
) -> None:
    seen: list[Exception] = []

    def work(_: object) -> None:
        raise error

    runner.latest("a", work, lambda _: None, failed=seen.append)
    qtbot.waitUntil(lambda: seen == [error])
    assert not runner.busy


def test_nothing_arrives_after_closing(qtbot: Any) -> None:
    runner = LatestRunner()
    gate = threading.Event()
    seen: list[int] = []
    runner.latest("a", lambda _: gate.wait(5) and 1, seen.append)
    gate.set()
    runner.close()
    qtbot.wait(20)
    assert not seen


# -------------------------------------------------------------------- jobs
@pytest.mark.parametrize("error", [RuntimeError("out of memory"), RunError("the matcher failed")])
def test_a_job_loses_no_error(qtbot: Any, error: Exception) -> None:
    errors: list[Exception] = []
    ended: list[bool] = []

    def work(_: object) -> None:
        raise error

    start_job(
        work, returned=lambda _: None, errored=errors.append, finished=lambda: ended.append(True)
    )
    qtbot.waitUntil(lambda: bool(ended))
    assert errors == [error]


def test_a_job_reports_in_the_thread_of_the_window(qtbot: Any) -> None:
    threads: list[int] = []
    results: list[int] = []

    def work(worker: Any) -> int:
        for i in range(3):
            worker.progressed.emit(i)
        return 7

    start_job(
        work, returned=results.append, progressed=lambda _: threads.append(threading.get_ident())
    )
    qtbot.waitUntil(lambda: results == [7])
    assert threads == [threading.get_ident()] * 3


# ------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ScanFileError("a.h5: is\n empty"), "a.h5: is empty"),
        (FileNotFoundError(2, "No such file or directory", "b.mib"), "b.mib: No such file"),
        (MemoryError(), "out of memory"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (KeyError(), "KeyError: no message"),
    ],
)
def test_one_line_for_every_error(error: Exception, line: str) -> None:
    assert one_line(error).startswith(line)
    assert "\n" not in one_line(error)


def test_errors_are_notifications(notes: list[tuple[str, str]]) -> None:
    report_error(RunError("the matcher failed"))
    report_error(CancelledError("stopped; what was mapped so far is kept"))
    assert notes == [
        ("error", "the matcher failed"),
        ("info", "stopped; what was mapped so far is kept"),
    ]


def test_what_comes_soon_is_handed_over_before_the_call_returns(
    qtbot: Any, runner: LatestRunner
) -> None:
    seen: list[Any] = []
    runner.latest("a", lambda _t: "soon", seen.append, patience=20.0)
    assert seen == ["soon"]
    runner.latest("b", lambda _t: "later", seen.append)
    qtbot.waitUntil(lambda: not runner.busy, timeout=60_000)
    # Not a second time afterwards.
    assert seen == ["soon", "later"]


def test_a_first_part_is_handed_over_before_the_call_returns(
    qtbot: Any, runner: LatestRunner
) -> None:
    go, seen = threading.Event(), []

    def work(token: Token) -> str:
        token.report("coarse")
        go.wait(20)
        token.report("finer")
        return "whole"

    runner.latest("a", work, seen.append, partial=seen.append, patience=20.0)
    assert seen == ["coarse"]
    go.set()
    qtbot.waitUntil(lambda: not runner.busy, timeout=60_000)
    assert seen == ["coarse", "finer", "whole"]


def test_what_is_asked_at_once_does_not_wait_for_what_runs(
    qtbot: Any, runner: LatestRunner
) -> None:
    go, seen, told = threading.Event(), [], []

    def slow(token: Token) -> str:
        go.wait(20)
        told.append(token.cancelled())
        return "old"

    runner.latest("a", slow, seen.append)
    runner.latest("a", lambda _t: "new", seen.append, patience=20.0, at_once=True)
    assert seen == ["new"]
    go.set()
    qtbot.waitUntil(lambda: bool(told) and not runner.busy, timeout=60_000)
    qtbot.wait(20)
    assert (seen, told) == (["new"], [True])


def test_the_window_waits_no_longer_than_its_patience(qtbot: Any, runner: LatestRunner) -> None:
    go, seen = threading.Event(), []
    runner.latest("a", lambda _t: go.wait(20), seen.append, patience=0.01)
    assert seen == []
    go.set()
    qtbot.waitUntil(lambda: seen == [True], timeout=60_000)


def test_an_error_that_comes_soon_is_handed_over_too(runner: LatestRunner) -> None:
    errors: list[Exception] = []

    def work(_token: Token) -> None:
        raise OSError("gone")

    runner.latest("a", work, lambda _: None, failed=errors.append, patience=20.0)
    assert [str(error) for error in errors] == ["gone"]
