"""What the picture of one probe against all says of what is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.learning.siamese.originals import STRIPES_ORIGINAL
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.protocol import one_against_all
from app.learning.siamese.recipe import EUCLIDEAN, Protocol
from app.services import run_sheets
from app.services.run_sheets import enrolled_words, pictures_enrolled


def pictures(*sizes: int) -> LabelledPictures:
    classes = tuple(f"c{k}" for k, size in enumerate(sizes) for _ in range(size))
    empty = ("",) * len(classes)
    return LabelledPictures(
        np.zeros((len(classes), 8, 8), np.float32), classes, classes, empty, empty
    )


@pytest.mark.parametrize(
    ("enrolled", "sizes", "taken"),
    [(1, (4, 4), 1), (3, (4, 4), 3), (5, (4, 6), 3), (5, (4, 1), 1), (5, (2, 9), 1)],
)
def test_as_many_are_said_to_be_enrolled_as_are(
    enrolled: int, sizes: tuple[int, ...], taken: int
) -> None:
    recipe = replace(STRIPES_ORIGINAL, protocol=Protocol(one_against_all=True, enrolled=enrolled))
    shown = pictures(*sizes)
    assert pictures_enrolled(recipe, shown) == taken
    cells = np.arange(len(shown), dtype=np.float32).reshape(-1, 1, 1, 1)
    search = one_against_all(shown, cells, EUCLIDEAN, np.random.default_rng(1), enrolled)
    turns = min(sizes) // taken
    assert len(search.genuine) == turns * (sum(sizes) - len(sizes) * taken)


def test_the_strip_says_that_the_best_of_several_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def drawn(_probe: object, _others: object, _captions: object, title: str) -> bytes:
        said.append(title)
        return b""

    monkeypatch.setattr(run_sheets, "strip_png", drawn)
    shown = pictures(4, 4)
    cells = np.arange(8, dtype=np.float32).reshape(-1, 1, 1, 1)
    for enrolled in (1, 3):
        recipe = replace(
            STRIPES_ORIGINAL, protocol=Protocol(one_against_all=True, enrolled=enrolled)
        )
        search = one_against_all(shown, cells, EUCLIDEAN, np.random.default_rng(1), enrolled)
        run_sheets._strip(recipe, shown, search, EUCLIDEAN)
    assert said[0] == "stripes-original: c0 against one picture of each, the best class first"
    assert said[1].endswith(
        "against the best of 3 enrolled of each (the first is shown), the best class first"
    )
    assert enrolled_words(2) == "the best of 2 enrolled of each (the first is shown)"
