"""What a trained model says of test pairs, as pictures with their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from app.core.params import Matching, VectorMatching
from app.evaluation.sheets import pairs_png, strip_png
from app.learning.siamese.pairing import Pairs
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.protocol import Measured, OneAgainstAll
from app.learning.siamese.recipe import SiameseRecipe

Sheet = tuple[str, bytes]
"""File name of a picture, and its PNG."""

SHOWN_PAIRS = 16
STRIP = 40


def test_sheets(
    recipe: SiameseRecipe, matching: Matching, test: LabelledPictures, measured: Measured
) -> Iterator[Sheet]:
    """Genuine and impostor test pairs from the lowest to the highest score, with what was said."""

    def said(place: int) -> str:
        score = float(measured.scores[place])
        decided = "same" if score >= measured.threshold else "different"
        return f"{score_words(score, matching)}\nsaid: {decided}"

    for kind, places in _by_kind(measured.pairs):
        ranked = places[np.argsort(measured.scores[places], kind="stable")]
        title = f"{recipe.name}: {kind} test pairs by score, threshold {measured.threshold:.3f}"
        yield (
            f"test-{kind}-pairs.png",
            _pairs_png(test, measured.pairs, _spread(ranked, SHOWN_PAIRS), said, title),
        )
    if measured.search is not None:
        yield "one-against-all.png", _strip(recipe, test, measured.search, matching)


def score_words(score: float, matching: Matching) -> str:
    """A score, and the distance that it stands for where it is one of a distance."""
    words = f"score {score:.3f}"
    if isinstance(matching, VectorMatching) and matching.measure == "euclidean" and score > 0:
        words += f", distance {1 / score - 1:.3f}"
    return words


def pictures_enrolled(recipe: SiameseRecipe, test: LabelledPictures) -> int:
    """Of each class, as ``protocol.one_against_all`` takes them: every class keeps a probe."""
    smallest = int(np.bincount(test.labels()).min())
    return max(1, min(recipe.protocol.enrolled, smallest - 1))


def enrolled_words(count: int) -> str:
    """What a class's score and the picture beside it are of."""
    if count == 1:
        return "one picture of each"
    return f"the best of {count} enrolled of each (the first is shown)"


def _strip(
    recipe: SiameseRecipe, test: LabelledPictures, search: OneAgainstAll, matching: Matching
) -> bytes:
    probe, scores = search.probes[0], search.scores[0]
    best = np.argsort(-scores, kind="stable")[:STRIP]
    captions = [
        f"{test.classes[search.references[k]]}\n{score_words(float(scores[k]), matching)}"
        for k in best
    ]
    against = enrolled_words(pictures_enrolled(recipe, test))
    title = f"{recipe.name}: {test.classes[probe]} against {against}, the best class first"
    return strip_png(test.pixels[probe], test.pixels[search.references[best]], captions, title)


def _by_kind(pairs: Pairs) -> list[tuple[str, Rows]]:
    """Places of the pairs of each kind that occurs."""
    kinds = {"genuine": np.flatnonzero(pairs.same), "impostor": np.flatnonzero(~pairs.same)}
    return [(kind, places) for kind, places in kinds.items() if len(places)]


def _spread(places: Rows, most: int) -> Rows:
    rows: Rows = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).astype(int))
    return np.asarray(places[rows], np.int64)


def _pairs_png(
    pictures: LabelledPictures,
    pairs: Pairs,
    places: Rows,
    words: Callable[[int], str],
    title: str,
) -> bytes:
    first, second = pairs.first[places], pairs.second[places]
    captions = [
        f"{pictures.classes[a]} / {pictures.classes[b]}\n{words(int(place))}"
        for place, a, b in zip(places, first, second, strict=True)
    ]
    return pairs_png(pictures.pixels[first], pictures.pixels[second], captions, title)
