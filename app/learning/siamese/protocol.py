"""How a trained Siamese model is measured on pictures that it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.core.params import Matching
from app.core.types import FloatArray, Probe
from app.evaluation import decisions
from app.learning.siamese.pairing import Pairs, PairSampler
from app.learning.siamese.pictures import LabelledPictures, Rows
from app.learning.siamese.recipe import PairingParams, SiameseRecipe
from app.matching.score import compare_many

WANTED_PRECISION = 0.99
EVERY_PAIR_UP_TO = 2_000_000


@dataclass(frozen=True, slots=True)
class OneAgainstAll:
    """Probes searched among one reference of every class.

    Attributes:
        probes, references: rows of the test pictures; one reference a class, and one probe of
            every class that has another picture.
        scores: float32 [probes, references].
        rank_one: share of searches with the own class first, over every choice of references.
    """

    probes: Rows
    references: Rows
    scores: FloatArray
    rank_one: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of a model on test pictures.

    Attributes:
        threshold: on the comparison score; a pair whose score reaches it is said to be genuine.
        pairs: that were compared, with their ``scores``.
        figures: accuracy, precision, recall, roc_auc, recall_at_precision_0.99, and whatever else
            the recipe's protocol asks.
        by_condition: the same for the pairs of one condition each, where there are of both kinds.
    """

    threshold: float
    pairs: Pairs
    scores: FloatArray
    figures: dict[str, float]
    by_condition: dict[str, dict[str, float]] = field(default_factory=dict)
    search: OneAgainstAll | None = None


def measure(
    recipe: SiameseRecipe,
    matching: Matching,
    validation: tuple[LabelledPictures, FloatArray],
    test: tuple[LabelledPictures, FloatArray],
) -> Measured:
    """Measure by the recipe's protocol.

    Args:
        matching: how templates are compared.
        validation: pictures for the threshold, and their cells [n, rows, cols, channels].
        test: pictures for the figures, and their cells.

    Raises:
        InvalidInput: genuine or impostor pairs are missing.
    """
    protocol, rng = recipe.protocol, np.random.default_rng(recipe.schedule.seed)
    threshold = protocol.fixed_score
    if protocol.threshold == "validation":
        chosen = balanced_pairs(recipe, validation[0], rng)
        scores = pair_scores(validation[1], chosen, matching)
        threshold = decisions.best_accuracy_threshold(scores, chosen.same)
    pictures, cells = test
    pairs = balanced_pairs(recipe, pictures, rng)
    scores = pair_scores(cells, pairs, matching)
    figures = decision_figures(scores, pairs.same, threshold)
    search = None
    if protocol.one_against_all:
        search = one_against_all(pictures, cells, matching, rng)
        figures["rank_one"] = search.rank_one
    if protocol.shots:
        figures[f"accuracy_of_{protocol.shots}_shots"] = nearest_template_accuracy(
            pictures, cells, matching, protocol.shots, rng
        )
    by_condition = {}
    if protocol.by_condition:
        conditions = np.asarray(pictures.conditions)[pairs.first]
        by_condition = {
            str(name): decision_figures(scores[rows], pairs.same[rows], threshold)
            for name in sorted(set(conditions))
            for rows in (np.flatnonzero(conditions == name),)
            if 0 < pairs.same[rows].sum() < len(rows)
        }
    return Measured(threshold, pairs, scores, figures, by_condition, search)


def balanced_pairs(
    recipe: SiameseRecipe, pictures: LabelledPictures, rng: np.random.Generator
) -> Pairs:
    """The protocol's pairs: every genuine one and as many impostor ones, or the asked number.

    Half of the pairs are genuine, so that an accuracy of 0.5 is chance.
    """
    sampler = PairSampler(pictures, recipe.data.mixed_conditions)
    if recipe.protocol.pairs or len(pictures) ** 2 > EVERY_PAIR_UP_TO:
        count = recipe.protocol.pairs or len(pictures)
        return sampler.draw(PairingParams("balanced", pairs=count), rng)
    every = sampler.every()
    genuine, impostor = np.flatnonzero(every.same), np.flatnonzero(~every.same)
    few = min(len(genuine), len(impostor))
    rows = np.concatenate([rng.permutation(v)[:few] for v in (genuine, impostor)])
    return Pairs(every.first[rows], every.second[rows], every.same[rows])


def pair_scores(cells: FloatArray, pairs: Pairs, matching: Matching) -> FloatArray:
    """Comparison scores float32 [pairs]; the first picture is the probe.

    Args:
        cells: [pictures, rows, cols, channels].
    """
    mask = np.ones(cells.shape[:3], np.float32)
    scores = np.empty(len(pairs), np.float32)
    order = np.argsort(pairs.first, kind="stable")
    probes, starts = np.unique(pairs.first[order], return_index=True)
    for probe, places in zip(probes, np.split(order, starts)[1:], strict=True):
        seen = Probe(cells[probe][None], mask[probe][None])
        others = pairs.second[places]
        scores[places] = compare_many(seen, cells[others], mask[others], matching)
    return scores


def decision_figures(
    scores: FloatArray, same: NDArray[np.bool_], threshold: float
) -> dict[str, float]:
    """Accuracy, precision, recall at a threshold, and what does not depend on one."""
    counts = decisions.decide_counts(scores, same, threshold)
    return {
        "pairs": float(len(scores)),
        "accuracy": decisions.accuracy(counts),
        "precision": decisions.precision(counts),
        "recall": decisions.recall(counts),
        "roc_auc": decisions.roc_auc(scores, same),
        "recall_at_precision_0.99": decisions.recall_at_precision(scores, same, WANTED_PRECISION),
    }


def one_against_all(
    pictures: LabelledPictures, cells: FloatArray, matching: Matching, rng: np.random.Generator
) -> OneAgainstAll:
    """Search every picture among one other picture of each class, by turns each as reference."""
    labels = pictures.labels()
    classes = [rng.permutation(np.flatnonzero(labels == k)) for k in range(int(labels.max()) + 1)]
    depth = min(len(rows) for rows in classes)
    turns = [np.array([rows[turn] for rows in classes]) for turn in range(depth)]
    right = searched = 0
    for references in turns:
        probes = np.setdiff1d(np.arange(len(labels)), references)
        best = score_table(cells, probes, references, matching).argmax(axis=1)
        right, searched = right + int((best == labels[probes]).sum()), searched + len(probes)
    shown = np.array([rows[1] for rows in classes if len(rows) > 1])
    table = score_table(cells, shown, turns[0], matching)
    return OneAgainstAll(shown, turns[0], table, right / searched)


def nearest_template_accuracy(
    pictures: LabelledPictures,
    cells: FloatArray,
    matching: Matching,
    shots: int,
    rng: np.random.Generator,
) -> float:
    """Share of pictures whose best-scoring class is their own, with ``shots`` templates a class.

    The score of a class is the mean over its templates; pictures used as templates are left out.
    A class of few pictures has fewer templates, so that one is left to be asked for.
    """
    labels = pictures.labels()
    classes = int(labels.max()) + 1
    shuffled = [rng.permutation(np.flatnonzero(labels == k)) for k in range(classes)]
    templates = np.concatenate([rows[: max(1, min(shots, len(rows) - 1))] for rows in shuffled])
    probes = np.setdiff1d(np.arange(len(labels)), templates)
    table = score_table(cells, probes, templates, matching)
    means = [table[:, labels[templates] == k].mean(axis=1) for k in range(classes)]
    return float((np.argmax(means, axis=0) == labels[probes]).mean())


def score_table(
    cells: FloatArray, probes: Rows, references: Rows, matching: Matching
) -> FloatArray:
    """Comparison scores float32 [probes, references] of rows of the pictures."""
    known = cells[references]
    mask = np.ones(known.shape[:3], np.float32)
    return np.stack(
        [compare_many(Probe(cells[k][None], mask[:1]), known, mask, matching) for k in probes]
    )
