"""Before a model serves, everything is compiled that a request may need."""

from __future__ import annotations

import threading

import numpy as np

from app.core.types import FloatArray, PreparedSample
from app.inference.batcher import MicroBatcher
from app.inference.embedder import CompiledEmbedder

SIZE_PX = 32
SAMPLE = PreparedSample(
    np.zeros((SIZE_PX, SIZE_PX), np.float32), np.ones((SIZE_PX, SIZE_PX), np.float32)
)


class Shapes:
    """A network that notes how many samples it is run with, which is what is compiled."""

    def __init__(self, *row: int) -> None:
        self._row = row
        self.seen: set[int] = set()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, inputs: FloatArray) -> FloatArray:
        self.seen.add(len(inputs))
        assert self.go_on.wait(20)
        return np.zeros((len(inputs), *self._row), np.float32)


def test_no_batch_of_the_queue_needs_another_size() -> None:
    shapes = Shapes(2, 2, 4)
    embedder = CompiledEmbedder(shapes, (SIZE_PX, SIZE_PX))
    embedder.warm()
    warmed = set(shapes.seen)
    batcher = MicroBatcher(embedder)
    for count in (*range(1, 34), 63, 64, 65, 100):
        batcher.embed([SAMPLE] * count)
    # Orders that wait together are answered in one batch, of more than any of them has.
    shapes.go_on.clear()
    waiting = [threading.Thread(target=batcher.embed, args=([SAMPLE] * 28,)) for _ in range(5)]
    for thread in waiting:
        thread.start()
    shapes.go_on.set()
    for thread in waiting:
        thread.join()
    batcher.close()
    assert shapes.seen == warmed
