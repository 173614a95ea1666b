"""Virtual images kept up to date with the detectors, newest position first."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import CancelledError, DiffmapError
from napari_diffmap.models.device import device_for_sums
from napari_diffmap.models.device_tiles import reader_on
from napari_diffmap.scan.detectors import Detector, virtual_images
from napari_diffmap.scan.preview import preview_images
from napari_diffmap.scan.tiles import BlockReader, Tile
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session

#: Partial pictures of a slow pass are shown this often.
_PARTIAL_SECONDS = 0.1
#: So much is read from the file fast enough to do without a preview.
_QUICK_BYTES = 32 << 20

#: The window waits so long for an image of a scan in memory: else it would come back only
#: after both canvases are drawn, and be made slowly beside that.
_PATIENCE = 0.03
#: A coarse image of a scan that no memory holds takes so long, and the window waits so long
#: for it.
_PREVIEW, _PREVIEW_PATIENCE = 0.02, 0.07

SLOT, GPU_SLOT = "virtual images", "patterns to the GPU"


class VirtualImages:
    """Computes the image of every visible detector of a session.

    Signals
    -------
    image_changed(key, image)
        A float32 ``(y, x)`` image; NaN where no frame was recorded.
    """

    image_changed = Signal(int, object)

    def __init__(self, session: Session, runner: Runner) -> None:
        self.session = session
        self.runner = runner
        self.images: dict[int, NDArray[np.float32]] = {}
        self._made_with: dict[int, Detector] = {}
        self._age = 0
        self._offered: BlockReader | None = None
        session.grown.connect(self._on_grown)
        session.scan_changed.connect(self._on_scan)
        session.detectors_changed.connect(self.update)
        session.detector_moved.connect(self._on_moved)
        session.plane_changed.connect(self._on_plane)

    def _on_scan(self) -> None:
        self.runner.cancel(SLOT)
        self.images.clear()
        self._made_with.clear()

    def _on_plane(self) -> None:
        self._made_with.clear()
        self.update()

    def _on_grown(self, new: NDArray[np.bool_]) -> None:
        """Add the frames that have come to the images; nothing else is computed again."""
        self._age += 1
        scan, reader, runner = self.session.patterns, self.session.reader, self.runner
        made = list(self._made_with.items())
        if scan is None or reader is None or not made:
            self.update()
            return
        chosen = [detector for _, detector in made]

        def work(token: Token) -> list[NDArray[np.float32]]:
            return virtual_images(scan, chosen, reader=reader, cancelled=token.cancelled, only=new)

        def done(images: list[NDArray[np.float32]]) -> None:
            for (key, detector), image in zip(made, images, strict=True):
                old = self.images.get(key)
                if old is None or self._made_with.get(key) is not detector:
                    continue
                self.images[key] = np.where(new, image, old)
                self.image_changed.emit(key, self.images[key])
            self.update()

        # Rounds of frames must not overtake each other: each has its own slot.
        runner.latest(f"{SLOT}, frames {self._age}", work, done, failed=self._failed)

    def _on_moved(self, _key: int) -> None:
        self.update()

    @property
    def stale(self) -> list[tuple[int, Detector]]:
        """Visible detectors whose image does not show their present shape."""
        return [
            (item.key, item.detector)
            for item in self.session.detectors
            if item.visible and not _same(self._made_with.get(item.key), item.detector)
        ]

    def update(self) -> None:
        """Start a pass over the scan for every stale image."""
        keys = {item.key for item in self.session.detectors}
        for gone in set(self.images) - keys:
            self.images.pop(gone)
            self._made_with.pop(gone, None)
        stale = self.stale
        if not stale or self.session.patterns is None:
            return
        reader = self.session.reader
        scan = self.session.patterns
        assert reader is not None
        age = self._age

        def work(token: Token) -> list[NDArray[np.float32]]:
            chosen = [detector for _, detector in stale]
            quick = reader.resident or scan.nbytes <= _QUICK_BYTES
            if not quick:
                token.report((0, preview_images(scan, chosen, _PREVIEW)))
            last = time.perf_counter()

            def on_tile(_number: int, tile: Tile, images: list[NDArray[np.float32]]) -> None:
                nonlocal last
                if time.perf_counter() - last > _PARTIAL_SECONDS:
                    last = time.perf_counter()
                    token.report((tile.rows.stop, [image.copy() for image in images]))

            return virtual_images(
                scan, chosen, reader=reader, cancelled=token.cancelled, on_tile=on_tile
            )

        self.runner.latest(
            SLOT,
            work,
            lambda images: self._show(stale, images, age),
            failed=self._failed,
            partial=lambda part: self._show_partial(stale, part),
            patience=_PATIENCE if reader.resident else _PREVIEW_PATIENCE,
            # A coarse image is there before a long pass has ended.
            at_once=not reader.resident and scan.nbytes > _QUICK_BYTES,
        )

    def _show(
        self, stale: list[tuple[int, Detector]], images: list[NDArray[np.float32]], age: int
    ) -> None:
        for (key, detector), image in zip(stale, images, strict=True):
            if self.session.listed(key) is None:
                continue
            self.images[key] = image
            self._made_with[key] = detector
            self.image_changed.emit(key, image)
        if age != self._age:  # frames came while it was made
            self._made_with.clear()
            self.update()
        self._offer_gpu()

    def _offer_gpu(self) -> None:
        """Copy a scan that memory holds to the GPU, once, for the detectors that come."""
        session, reader = self.session, self.session.reader
        if reader is None or reader is self._offered or not reader.resident:
            return
        try:
            device = device_for_sums()
        except DiffmapError as error:
            self._offered = reader
            self._failed(error)
            return
        if device is None:
            return
        self._offered = reader

        def done(on_gpu: BlockReader) -> None:
            if session.reader is reader:
                session.reader = self._offered = on_gpu

        self.runner.latest(
            GPU_SLOT, lambda _token: reader_on(reader, device), done, failed=self._failed
        )

    def _show_partial(self, stale: list[tuple[int, Detector]], part: Any) -> None:
        """Fill in what is there; the rest keeps showing the last position."""
        _, images = part
        for (key, _), image in zip(stale, images, strict=True):
            if self.session.listed(key) is None:
                continue
            old = self.images.get(key)
            if old is not None and old.shape == image.shape:
                image = np.where(np.isnan(image), old, image)
            self.images[key] = image
            self.image_changed.emit(key, image)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, CancelledError):
            return
        if not isinstance(error, DiffmapError | MemoryError | OSError):
            raise error
        self.session.message.emit(f"virtual image: {error}")


def _same(a: Detector | None, b: Detector) -> bool:
    return a is not None and (a.shape, a.response) == (b.shape, b.response)
