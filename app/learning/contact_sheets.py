"""Contact sheets of what a fit was shown, so that a person can see what is being learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.core.types import FloatArray
from app.evaluation.sheets import pairs_png, samples_png
from app.learning.batches import PairSource
from app.learning.pairs import crop_pair
from app.learning.prints import Fingers
from app.learning.recipes import Recipe
from app.learning.views import ViewPool

SAMPLES, GENUINE, IMPOSTOR = "samples.png", "genuine-pairs.png", "impostor-pairs.png"
SHOWN_FINGERS = 24
_STREAM = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures float [n, height, width] with a caption each; of pairs, the second ones too."""

    pixels: FloatArray
    captions: Sequence[str]
    second: FloatArray | None = None


def contact_sheets(name: str, samples: Shown, genuine: Shown, impostor: Shown) -> dict[str, bytes]:
    """A sheet of samples and of either kind of pairs, by file name; none where nothing is shown.

    Args:
        name: of the recipe, for the headings.
    """
    sheets = {}
    if len(samples.pixels):
        sheets[SAMPLES] = samples_png(samples.pixels, samples.captions, f"{name}: samples")
    for file, kind, shown in ((GENUINE, "genuine", genuine), (IMPOSTOR, "impostor", impostor)):
        if shown.second is not None and len(shown.second):
            heading = f"{name}: {kind} pairs as the fit is shown them"
            sheets[file] = pairs_png(shown.pixels, shown.second, shown.captions, heading)
    return sheets


def keep_sheets(sheets: Mapping[str, bytes], folder: Path | None) -> None:
    """Write the sheets where a run that fails leaves them; nowhere without a folder."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in sheets.items():
        (folder / name).write_bytes(png)


def print_sheets(source: PairSource | Fingers, recipe: Recipe) -> dict[str, bytes]:
    """Sheets of some fingers, each shown as a pair of crops in one frame.

    An impostor pair is a crop of one finger and one of the next, as the loss takes all of a batch.

    Args:
        source: what the fit learned from; of fingers, impressions are made anew as the fit's were.
    """
    if not isinstance(source, Fingers):
        source.begin_epoch(0)
        return _pair_sheets(source, recipe)
    some = Fingers(source.seed, source.masters[:SHOWN_FINGERS])
    pool = ViewPool(some, recipe.preparation, per_finger=2, renewed_share=0.0)
    with closing(pool):
        pool.begin_epoch(0)
        return _pair_sheets(pool, recipe)


def _pair_sheets(source: PairSource, recipe: Recipe) -> dict[str, bytes]:
    rng = np.random.default_rng([recipe.schedule.seed, _STREAM])
    count = min(SHOWN_FINGERS, len(source))
    pairs = [
        crop_pair(*source.views(finger, rng), recipe.preparation, recipe.noise, rng)
        for finger in range(count)
    ]
    first, second = (np.stack([pair[k].image for pair in pairs]) for k in (0, 1))
    names = [f"finger {finger + 1}" for finger in range(count)]
    others = np.roll(np.arange(count), -1)
    return contact_sheets(
        recipe.name,
        Shown(np.concatenate([first, second]), names + names),
        Shown(first, names, second),
        Shown(
            first,
            [f"fingers {k + 1} and {other + 1}" for k, other in enumerate(others)],
            second[others],
        ),
    )
