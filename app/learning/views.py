"""A pool of prepared impressions: made once, shown many times, renewed a part every epoch.

To capture, segment and normalise an impression costs ten times what cropping it does. So a pool of
them is kept in memory, every pair is a new crop of two of them, and every epoch a share of the pool
is made anew in the background.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.params import PreparationParams
from app.core.types import FloatArray
from app.learning.pairs import View
from app.learning.prints import Fingers, Report, view_of
from app.synth.impression import impress

LEVELS = 127.0
"""A normalised image lies in -1..1; one byte a pixel keeps it to within the noise of a sensor."""

VIEW_STREAM = 2


@dataclass(frozen=True, slots=True)
class _Packed:
    """A view in a quarter of its memory."""

    image: NDArray[np.int8]
    mask: NDArray[np.uint8]
    to_finger: FloatArray
    core_px: tuple[float, float]

    @classmethod
    def of(cls, view: View) -> _Packed:
        image = np.round(view.image * LEVELS).astype(np.int8)
        mask = np.round(view.mask * LEVELS).astype(np.uint8)
        return cls(image, mask, view.to_finger, view.core_px)

    def view(self) -> View:
        image = self.image.astype(np.float32) / np.float32(LEVELS)
        mask = self.mask.astype(np.float32) / np.float32(LEVELS)
        return View(image, mask, self.to_finger, self.core_px)


class ViewPool:
    """``per_finger`` prepared impressions of every finger; a source of pairs.

    What the pool holds in an epoch depends on the seeds and the epoch's number only, so a fit that
    resumes sees what it would have seen.

    Args:
        per_finger: impressions of a finger that are in the pool at a time, at least two.
        renewed_share: of the pool, made anew every epoch.
        report: told the progress of filling the pool; may raise to stop.
    """

    def __init__(
        self,
        fingers: Fingers,
        params: PreparationParams,
        *,
        per_finger: int,
        renewed_share: float,
        report: Report | None = None,
        threads: int = 2,
    ) -> None:
        if per_finger < 2:
            raise ValueError(f"a pair needs two impressions of a finger, not {per_finger}")
        self._fingers, self._params = fingers, params
        self._per_finger, self._report = per_finger, report
        # A slot's turn comes round every so many epochs.
        self._round = max(1, round(1.0 / renewed_share)) if renewed_share > 0 else 0
        self._views: dict[tuple[int, int], _Packed] = {}
        self._slots: dict[int, tuple[int, int]] = {}
        self._coming: dict[tuple[int, int], Future[_Packed]] = {}
        self._threads = threads
        self._renewal = ThreadPoolExecutor(1, thread_name_prefix="views")

    def __len__(self) -> int:
        return len(self._fingers.masters)

    def close(self) -> None:
        """Stop making impressions and let go of those in the pool."""
        self._renewal.shutdown(cancel_futures=True)
        self._views.clear()
        self._coming.clear()

    def begin_epoch(self, epoch: int) -> None:
        """Hold the impressions of this epoch; start on those of the next one."""
        wanted = self._keys(epoch)
        missing = [key for key in wanted if key not in self._views and key not in self._coming]
        made = self._make_all(missing)
        held = self._views | made | {k: f.result() for k, f in self._coming.items() if k in wanted}
        self._views = {key: held[key] for key in wanted}
        following = [key for key in self._keys(epoch + 1) if key not in self._views]
        underway = self._coming
        self._coming = {
            key: underway.get(key) or self._renewal.submit(self._make, key) for key in following
        }
        self._slots = {slot: (slot, generation) for slot, generation in wanted}

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        """Two different impressions of a finger that are in the pool."""
        first, second = rng.choice(self._per_finger, 2, replace=False)
        slots = (finger * self._per_finger + int(k) for k in (first, second))
        one, other = (self._views[self._slots[slot]].view() for slot in slots)
        return one, other

    def _keys(self, epoch: int) -> dict[tuple[int, int], None]:
        """Slot and generation of all that is held in an epoch, in order."""
        slots = range(len(self) * self._per_finger)
        return dict.fromkeys((slot, self._generation(slot, epoch)) for slot in slots)

    def _generation(self, slot: int, epoch: int) -> int:
        """How often a slot was renewed before an epoch; the slots take turns."""
        if self._round == 0:
            return 0
        # Neighbouring slots are of one finger: all of them are renewed in different epochs.
        return (epoch + slot % self._round) // self._round

    def _make(self, key: tuple[int, int]) -> _Packed:
        slot, generation = key
        finger = slot // self._per_finger
        rng = np.random.default_rng([self._fingers.seed, VIEW_STREAM, slot, generation])
        master = self._fingers.masters[finger]
        return _Packed.of(view_of(impress(master, rng), master.centre_px, self._params))

    def _make_all(self, keys: list[tuple[int, int]]) -> dict[tuple[int, int], _Packed]:
        made: dict[tuple[int, int], _Packed] = {}
        with ThreadPoolExecutor(self._threads, thread_name_prefix="views") as pool:
            try:
                for key, packed in zip(keys, pool.map(self._make, keys), strict=True):
                    made[key] = packed
                    if self._report is not None:
                        self._report(len(made), len(keys))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return made
