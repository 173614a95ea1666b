"""The window on a 0.54 GB scan on disk: how fast it answers mouse and buttons."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.scan.detectors import Disk
from napari_diffmap.widgets.stalls import StallProbe

SIZE = 128
#: Rows and columns of different patterns; the scan repeats them.
DIFFERENT = 16
CLICKS, MOVES, MAP_SECONDS = 20, 60, 15.0
#: Patterns of the scan that no memory holds.
LARGE = (800, 600, 256, 256)
#: Mouse moves a second while a detector is dragged without waiting.
MOVE_RATE = 60


def why_not() -> str:
    """Why there can be no window here; empty where there can."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "no display: set DISPLAY, or run under xvfb-run"
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return "Qt's offscreen platform cannot draw images: unset QT_QPA_PLATFORM"
    try:
        import napari
        import qtpy.QtWidgets  # noqa: F401
    except ImportError as error:
        return f"no window toolkit: {error}"
    del napari
    return ""


def table() -> str:
    """Latencies as the user feels them, from the event to the drawn picture."""
    reason = why_not()
    if reason:
        return f"Skipped: {reason}."
    with tempfile.TemporaryDirectory() as folder:
        # The user's own napari settings are neither read nor written.
        os.environ.setdefault("NAPARI_CONFIG", str(Path(folder) / "settings.yaml"))
        path = Path(folder) / "scan.npy"
        write_scan(path)
        large = Path(folder) / "large.npy"
        there = write_large(large)
        with _Window() as window:
            rows = [
                *window.opening(path),
                *window.clicks(),
                *window.drag(),
                *window.mapping(),
                *window.saving(Path(folder) / "out"),
                *(window.larger_than_memory(large) if there else []),
            ]
    lines = ["| what | median | 95 % | worst |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *rows])


def write_large(path: Path) -> bool:
    """63 GB that take no room on a disk that keeps sparse files; whether this one does."""
    header = np.lib.format.header_data_from_array_1_0(np.empty((0,), np.uint16))
    header["shape"] = LARGE
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2 * int(np.prod(LARGE)))
    return path.stat().st_blocks * 512 < 64 << 20


def write_scan(path: Path) -> None:
    """Simulated patterns of the bundled sample, repeated to 128 × 128 × 128 × 128 uint16."""
    from napari_diffmap.crystal import sample

    rows = slice(20, 20 + DIFFERENT)
    counts = sample.simulate_rows(sample.build_truth(), rows)[:, 16 : 16 + DIFFERENT]
    data = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(SIZE,) * 4)
    repeats = SIZE // DIFFERENT
    for i in range(repeats):
        data[i * DIFFERENT : (i + 1) * DIFFERENT] = np.tile(counts, (1, repeats, 1, 1))
    data.flush()


class _Window:
    """A shown viewer with the docks, driven by mouse events."""

    def __enter__(self) -> _Window:
        import napari
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        from napari_diffmap.widgets.workspace import arrange

        self.viewer = napari.Viewer(show=True)
        #: Ends each wait for an event.
        self.beats = QTimer()
        self.beats.start(2)
        self.app: Any = QApplication.instance()
        self.viewer.window.resize(1400, 900)
        self.bench = arrange(self.viewer)
        self.session = self.bench.session
        self.until(lambda: not self.bench.runner.busy)
        self.pump(1.0)
        self.probe = StallProbe()
        self.probe.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.probe.stop()
        self.bench.run.stop()
        self.until(lambda: self.bench.run.state == "idle")
        self.viewer.close()
        self.pump(0.5)

    # ------------------------------------------------------------- waiting
    def until(self, ready: Callable[[], bool], seconds: float = 30) -> float:
        """Let the window live until something holds; returns the seconds it took."""
        from qtpy.QtCore import QEventLoop

        # Waiting for the next event leaves Python to the threads, as a window does that is
        # left alone; asking again and again would keep it from them.
        waiting = QEventLoop.ProcessEventsFlag.WaitForMoreEvents
        start = time.perf_counter()
        while not ready():
            self.app.processEvents(waiting)
            if time.perf_counter() - start > seconds:
                raise TimeoutError(f"nothing came within {seconds:.0f} s")
        return time.perf_counter() - start

    def pump(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() > end)

    def quiet(self) -> None:
        self.until(lambda: not self.bench.runner.busy and self.bench.run.state == "idle")
        self.pump(0.2)

    @contextmanager
    def drawn(self, qt_viewer: Any) -> Iterator[list[float]]:
        """Times at which a canvas was drawn."""
        times: list[float] = []

        def note(_event: Any) -> None:
            times.append(time.perf_counter())

        qt_viewer.canvas.events.draw.connect(note, position="last")
        try:
            yield times
        finally:
            qt_viewer.canvas.events.draw.disconnect(note)

    @contextmanager
    def images(self, times: list[float]) -> Iterator[None]:
        """Times at which the layer of a virtual image got new data."""

        def note(_key: int) -> None:
            times.append(time.perf_counter())

        self.bench.desk.sample.image_shown.connect(note)
        try:
            yield
        finally:
            self.bench.desk.sample.image_shown.disconnect(note)

    def next_draw(self, drawn: list[float], after: float) -> float:
        """When a canvas was drawn for the first time after a moment."""
        self.until(lambda: bool(drawn) and drawn[-1] > after)
        return next(moment for moment in drawn if moment > after)

    # ---------------------------------------------------------------- mouse
    @property
    def sample(self) -> Any:
        return self.viewer.window._qt_viewer

    @property
    def pattern(self) -> Any:
        return self.bench.docks["Pattern"].canvas

    @staticmethod
    def point(qt_viewer: Any, world: tuple[float, ...]) -> Any:
        """Where a position of the world lies on the widget."""
        from qtpy.QtCore import QPoint

        camera, native = qt_viewer.viewer.scene.camera, qt_viewer.canvas.native
        y, x = camera.center[-2:]
        return QPoint(
            round(native.width() / 2 + (world[1] - x) * camera.zoom),
            round(native.height() / 2 + (world[0] - y) * camera.zoom),
        )

    def stalled(self, what: str) -> str:
        """The longest time that our code kept the window from answering since the last look."""
        stalls = self.probe.take()
        return _row(f"longest turn of our code: {what}", [stalls[0].ours if stalls else 0.0])

    # ------------------------------------------------------------- measured
    def opening(self, path: Path) -> list[str]:
        """From the order to open until an image, then until the whole image is drawn."""
        shown: list[float] = []
        with self.drawn(self.sample) as drawn, self.images(shown):
            start = time.perf_counter()
            self.bench.opening.open(path)
            self.until(lambda: bool(shown))
            first = self.next_draw(drawn, shown[0]) - start
            self.until(lambda: not self.bench.desk.virtual.stale)
            whole = self.next_draw(drawn, shown[-1]) - start
        self.quiet()
        return [
            _row("open → first bright-field image", [first]),
            _row("open → image of the whole scan", [whole]),
            self.stalled("open"),
        ]

    def clicks(self) -> list[str]:
        """From the press on the sample until the pattern of that position is drawn."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        mouse: Any = QTest
        rng = np.random.default_rng(0)
        seconds, data = [], []
        layer = next(iter(self.bench.desk.sample.images.values()))
        steps = self.bench.desk.pattern.model.dims
        changed: list[float] = []
        steps.events.current_step.connect(lambda _event: changed.append(time.perf_counter()))
        with self.drawn(self.pattern) as drawn:
            for y, x in rng.integers(2, SIZE - 2, (CLICKS, 2)):
                point = self.point(self.sample, layer.data_to_world((int(y), int(x))))
                changed.clear()
                start = time.perf_counter()
                mouse.mouseClick(
                    self.sample.canvas.native,
                    Qt.MouseButton.LeftButton,
                    Qt.KeyboardModifier.NoModifier,
                    point,
                )
                self.until(lambda: bool(changed))
                data.append(changed[-1] - start)
                seconds.append(self.next_draw(drawn, changed[-1]) - start)
                self.pump(0.05)
        self.quiet()
        return [
            _row("click → pattern in the layer", data),
            _row("click → pattern drawn", seconds),
            self.stalled("click"),
        ]

    def drag(self) -> list[str]:
        """From a move of the held mouse until the image of the detector there is drawn."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        mouse: Any = QTest
        button = Qt.MouseButton.LeftButton
        native, virtual = self.pattern.canvas.native, self.bench.desk.virtual
        item = self.session.detectors[0]
        cy, cx = item.detector.shape.center
        beam: Any = self.bench.desk.pattern.beam
        angles = np.linspace(0, 2 * np.pi, MOVES + 1)
        way = [
            self.point(
                self.pattern, beam.data_to_world((cy + 12 * np.sin(a), cx + 12 * (np.cos(a) - 1)))
            )
            for a in angles
        ]
        seconds: list[float] = []
        data: list[float] = []
        shown: list[float] = []
        moved: list[int] = []
        self.session.detector_moved.connect(moved.append)
        mouse.mouseMove(native, way[0])
        mouse.mousePress(native, button, Qt.KeyboardModifier.NoModifier, way[0])
        with self.drawn(self.sample) as drawn, self.images(shown):
            for point in way[1:]:
                moved.clear()
                shown.clear()
                start = time.perf_counter()
                mouse.mouseMove(native, point)
                self.until(lambda: bool(moved), 5)
                self.until(lambda: bool(shown) and not virtual.stale)
                data.append(shown[-1] - start)
                seconds.append(self.next_draw(drawn, shown[-1]) - start)
            self.pump(0.3)
            shown.clear()
            start = time.perf_counter()
            for i, point in enumerate(way[1:]):
                mouse.mouseMove(native, point)
                self.pump(start + (i + 1) / MOVE_RATE - time.perf_counter())
            rate = len(shown) / (time.perf_counter() - start)
        mouse.mouseRelease(native, button, Qt.KeyboardModifier.NoModifier, way[-1])
        self.session.detector_moved.disconnect(moved.append)
        self.quiet()
        return [
            _row("detector moved → new data in the layer", data),
            _row("detector moved → image of the whole scan drawn", seconds),
            f"| images a second at {MOVE_RATE} mouse moves a second | {rate:.0f}/s | | |",
            self.stalled("drag"),
        ]

    def mapping(self) -> list[str]:
        """Gaps between beats of a timer in the window's thread while a map runs, and Stop."""
        from qtpy.QtCore import QTimer

        from napari_diffmap.crystal import sample
        from napari_diffmap.widgets.map_dock import MapDock

        calibration = self.session.calibration.with_pixel_size(sample.PIXEL_SIZE, "entered")
        self.session.set_calibration(calibration.with_voltage(sample.VOLTAGE_KV, "entered"))
        dock = next(w for w in self.app.allWidgets() if isinstance(w, MapDock))
        dock.add_phases(["LiNiO2", "NiO"])
        self.until(lambda: len(self.session.phases) == 2)
        self.quiet()
        self.probe.take()
        beats: list[float] = []
        timer = QTimer()
        timer.timeout.connect(lambda: beats.append(time.perf_counter()))
        mapped: list[int] = []

        def note(progress: Any) -> None:
            if progress.message == "mapping":
                mapped.append(progress.done)

        self.bench.run.progressed.connect(note)
        timer.start(5)
        start = time.perf_counter()
        self.bench.run.start()
        self.until(lambda: bool(mapped) and mapped[-1] > 0)
        prepared = time.perf_counter() - start
        self.pump(MAP_SECONDS)
        if self.bench.run.state != "running":
            raise RuntimeError("the map ended before it could be stopped")
        gaps = [float(gap) for gap in np.diff(beats)]
        start = time.perf_counter()
        self.bench.run.stop()
        stopped = self.until(lambda: self.bench.run.state == "idle")
        shown = self.until(lambda: self.bench.maps.layer("ambiguity") is not None)
        timer.stop()
        self.quiet()
        return [
            _row("Map pressed → first positions mapped", [prepared]),
            _row("gap between 5 ms beats of the window while mapping", gaps),
            _row("Stop pressed → stopped", [stopped]),
            _row("Stop pressed → all layers of the partial map", [stopped + shown]),
            self.stalled("map"),
        ]

    def saving(self, folder: Path) -> list[str]:
        """Writing the partial map beside the window."""
        saved: list[Any] = []
        self.bench.run.saved.connect(saved.append)
        self.bench.run.save(folder)
        self.until(lambda: bool(saved), 120)
        self.quiet()
        return [self.stalled("save")]

    def larger_than_memory(self, path: Path) -> list[str]:
        """A scan that no memory holds: opening, the first image after each move, patterns."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        mouse: Any = QTest
        button = Qt.MouseButton.LeftButton
        shown: list[float] = []
        # Zeros have no direct beam: the detector that is dragged is put there by hand.
        with self.images(shown):
            start = time.perf_counter()
            self.bench.opening.open(path)
            self.until(lambda: self.session.scan is not None and self.session.scan.source == path)
            self.until(lambda: bool(shown))
            first = shown[0] - start
        self.until(lambda: self.bench.desk.pattern.ready and bool(self.session.detectors))
        shape = Disk(128, 128, 40)
        item = self.session.detectors[0]
        self.session.change_detector(item.key, replace(item.detector, shape=shape))
        self.pump(1.0)
        layer: Any = self.bench.desk.pattern.pattern
        native = self.pattern.canvas.native

        def at(y: float, x: float) -> Any:
            return self.point(self.pattern, layer.data_to_world((0, 0, y, x))[2:])

        seconds: list[float] = []
        mouse.mouseMove(native, at(128, 128))
        mouse.mousePress(native, button, Qt.KeyboardModifier.NoModifier, at(128, 128))
        with self.images(shown):
            for i in range(20):
                shown.clear()
                start = time.perf_counter()
                mouse.mouseMove(native, at(128 + 2 * i, 128))
                self.until(lambda: bool(shown))
                seconds.append(shown[0] - start)
                self.pump(0.3)
        mouse.mouseRelease(native, button, Qt.KeyboardModifier.NoModifier, at(168, 128))
        return [
            _row("63 GB: open → first image in the layer", [first]),
            _row("63 GB: detector moved → first new image in the layer", seconds),
            self.stalled("63 GB opened and dragged"),
        ]


def _row(what: str, seconds: list[float]) -> str:
    """One line of the table; a single value stands in its first column."""
    if len(seconds) == 1:
        return f"| {what} | {_time(seconds[0])} | | |"
    cells = (statistics.median(seconds), float(np.percentile(seconds, 95)), max(seconds))
    return "| " + " | ".join([what, *map(_time, cells)]) + " |"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.0f} ms"


if __name__ == "__main__":
    print(table())
