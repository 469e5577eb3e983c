"""How a trained Siamese model is measured on pictures that it has not learned from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.core.params import Matching
from app.core.types import FloatArray, Probe
from app.evaluation import decisions
from app.learning.siamese.pairing import Pairs, PairSampler
from app.learning.siamese.pictures import TRAITS, LabelledPictures, Rows
from app.learning.siamese.recipe import PAIR_LOSSES, LossParams, PairingParams, SiameseRecipe
from app.matching.score import compare_many

SMALL = 1e-7
"""Keeps the loss of a score that was rounded to 0 finite."""
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
        genuine, impostor: scores of all true and all false claims, over every choice.
    """

    probes: Rows
    references: Rows
    scores: FloatArray
    rank_one: float
    genuine: FloatArray
    impostor: FloatArray

    @property
    def claims(self) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Scores of all claims, and which of them are true."""
        scores = np.concatenate([self.genuine, self.impostor])
        return scores, np.arange(len(scores)) < len(self.genuine)


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of a model on test pictures.

    Attributes:
        threshold: on the comparison score; a pair whose score reaches it is said to be genuine.
        pairs: that were compared, with their ``scores``.
        figures: accuracy, precision, recall, roc_auc, recall_at_precision_0.99, and whatever else
            the recipe's protocol asks.
        by_condition: the same for the pairs whose first picture, the probe, is of one condition,
            or of men, women, left or right hands, where there are pairs of both kinds.
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
    pictures, cells = test
    threshold = _threshold(recipe, matching, validation, rng)
    pairs = balanced_pairs(recipe, pictures, rng)
    scores = pair_scores(cells, pairs, matching)
    figures = decision_figures(scores, pairs.same, threshold)
    if (loss := pair_loss(recipe.loss, scores, pairs.same)) is not None:
        figures["loss"] = loss
    search = None
    if protocol.one_against_all:
        search = one_against_all(pictures, cells, matching, rng, protocol.enrolled)
        figures["rank_one"] = search.rank_one
        if protocol.threshold == "validation":
            known = one_against_all(*validation, matching, rng, protocol.enrolled)
            told = decisions.balanced_threshold(*known.claims)
            figures["claim_accuracy"] = decisions.balanced_accuracy(*search.claims, told)
    if protocol.shots:
        figures[f"accuracy_of_{protocol.shots}_shots"] = nearest_template_accuracy(
            pictures, cells, matching, protocol.shots, rng
        )
    by_condition = {
        name: decision_figures(scores[rows], pairs.same[rows], threshold)
        for name, rows in (_by_probe(pictures, pairs) if protocol.by_condition else ())
        if 0 < pairs.same[rows].sum() < len(rows)
    }
    return Measured(threshold, pairs, scores, figures, by_condition, search)


def _by_probe(pictures: LabelledPictures, pairs: Pairs) -> Iterator[tuple[str, Rows]]:
    """Rows of the pairs whose first picture is of one condition, then of one trait's value."""
    conditions = np.asarray(pictures.conditions)[pairs.first]
    for condition in sorted(set(pictures.conditions) - {""}):
        yield condition, np.flatnonzero(conditions == condition)
    for trait, values in pictures.traits.items():
        known = np.asarray(values)[pairs.first]
        for value, who in TRAITS[trait].items():
            yield who, np.flatnonzero(known == value)


def _threshold(
    recipe: SiameseRecipe,
    matching: Matching,
    validation: tuple[LabelledPictures, FloatArray],
    rng: np.random.Generator,
) -> float:
    if recipe.protocol.threshold == "fixed":
        return recipe.protocol.fixed_score
    pictures, cells = validation
    chosen = _every_pair(recipe, pictures, rng)
    return decisions.balanced_threshold(pair_scores(cells, chosen, matching), chosen.same)


def balanced_pairs(
    recipe: SiameseRecipe, pictures: LabelledPictures, rng: np.random.Generator
) -> Pairs:
    """The protocol's pairs: every genuine one and as many impostor ones, or the asked number.

    Half of the pairs are genuine, so that an accuracy of 0.5 is chance.
    """
    every = _every_pair(recipe, pictures, rng)
    if recipe.protocol.pairs or len(pictures) ** 2 > EVERY_PAIR_UP_TO:
        return every
    genuine, impostor = np.flatnonzero(every.same), np.flatnonzero(~every.same)
    few = min(len(genuine), len(impostor))
    rows = np.concatenate([rng.permutation(v)[:few] for v in (genuine, impostor)])
    return Pairs(every.first[rows], every.second[rows], every.same[rows])


def _every_pair(
    recipe: SiameseRecipe, pictures: LabelledPictures, rng: np.random.Generator
) -> Pairs:
    """Every pair there is, or a balanced draw where the protocol says so or they are too many."""
    sampler = PairSampler(pictures, recipe.data.mixed_conditions)
    if recipe.protocol.pairs or len(pictures) ** 2 > EVERY_PAIR_UP_TO:
        count = recipe.protocol.pairs or len(pictures)
        return sampler.draw(PairingParams("balanced", pairs=count), rng)
    return sampler.every()


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


def pair_loss(loss: LossParams, scores: FloatArray, same: NDArray[np.bool_]) -> float | None:
    """Mean loss of compared pairs, None where the loss is not one of pairs' scores.

    Args:
        scores: 1 / (1 + distance) of contrastive losses, the probability that a pair is genuine of
            binary cross-entropy.
    """
    known = np.asarray(scores, np.float64)
    if loss.kind in ("contrastive", "batch_contrastive"):
        distances = 1.0 / np.maximum(known, SMALL) - 1.0
        apart = np.square(np.maximum(loss.margin - distances, 0.0))
        return float(np.where(same, np.square(distances), apart).mean())
    if loss.kind in PAIR_LOSSES:
        right = np.clip(np.where(same, known, 1.0 - known), SMALL, 1.0)
        return float(-np.log(right).mean())
    return None


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
    pictures: LabelledPictures,
    cells: FloatArray,
    matching: Matching,
    rng: np.random.Generator,
    enrolled: int = 1,
) -> OneAgainstAll:
    """Search every picture among some others of each class, by turns each enrolled.

    Args:
        enrolled: pictures of each class that a probe is compared with, at most; the score of a
            class is their best.
    """
    labels = pictures.labels()
    classes = [rng.permutation(np.flatnonzero(labels == k)) for k in range(int(labels.max()) + 1)]
    depth = min(len(rows) for rows in classes)
    enrolled = max(1, min(enrolled, depth - 1))
    tables, truths = [], []
    for begin in range(0, depth - enrolled + 1, enrolled):
        references = np.concatenate([rows[begin : begin + enrolled] for rows in classes])
        probes = np.setdiff1d(np.arange(len(labels)), references)
        table = score_table(cells, probes, references, matching)
        tables.append(table.reshape(len(probes), len(classes), enrolled).max(axis=2))
        truths.append(labels[probes])
    scores, truth = np.concatenate(tables), np.concatenate(truths)
    own = np.arange(len(classes)) == truth[:, None]
    shown = np.array([rows[enrolled] for rows in classes if len(rows) > enrolled], np.int64)
    first = np.concatenate([rows[:enrolled] for rows in classes])
    none = np.zeros((0, len(first)), np.float32)
    shown_scores = score_table(cells, shown, first, matching) if len(shown) else none
    return OneAgainstAll(
        shown,
        first[::enrolled],
        shown_scores.reshape(len(shown), len(classes), enrolled).max(axis=2),
        float((scores.argmax(axis=1) == truth).mean()),
        scores[own],
        scores[~own],
    )


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
