"""Curves of the runs of a system's recipes: losses, ROC, precision and recall, decisions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from app.evaluation.curves import (
    confusion_png,
    loss_curves_png,
    precision_recall_png,
    roc_png,
    score_table_png,
)
from app.evaluation.rates import Scores
from app.evaluation.run_record import RunRecord

Runs = Mapping[str, Sequence[RunRecord]]
"""Runs of each recipe of a system, at least one, by seed."""
MOST_CURVES = 20


def system_curves(system: str, runs: Runs) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of every curve that the records hold; none of them shows a picture of data."""
    for name, records in runs.items():
        yield f"{name}-loss", loss_curves_png(_losses(records), f"{name}: loss")
    scores = curve_scores(runs)
    yield f"{system}-roc", roc_png(scores, f"{system}: receiver operating characteristic")
    yield (
        f"{system}-precision-recall",
        precision_recall_png(scores, f"{system}: precision and recall"),
    )
    for name, records in runs.items():
        counts = np.sum([run.counts for run in records], axis=0)
        yield f"{name}-decisions", confusion_png(counts, f"{name}: decisions, {_seeds(records)}")
        first = records[0]
        if first.search_scores is not None:
            table = np.asarray(first.search_scores, np.float32)
            enrolled = first.recipe["protocol"]["enrolled"]
            best = f" (best of {enrolled} enrolled)" if enrolled > 1 else ""
            title = f"{name}: one against all{best}, seed {first.seed}"
            yield f"{name}-scores", score_table_png(table, title)


def curve_scores(runs: Runs) -> dict[str, Scores]:
    """Scores by title; where single runs would be too many to tell apart, those of a recipe are
    put together."""
    if sum(map(len, runs.values())) <= MOST_CURVES:
        return {f"{name}, seed {run.seed}": run.scores for name in runs for run in runs[name]}
    return {f"{name}, {_seeds(records)}": _together(records) for name, records in runs.items()}


def _together(records: Sequence[RunRecord]) -> Scores:
    scores = [run.scores for run in records]
    return Scores(
        np.concatenate([one.genuine for one in scores]),
        np.concatenate([one.impostor for one in scores]),
    )


def _losses(records: Sequence[RunRecord]) -> dict[str, dict[int, float]]:
    """Series by name; a loss that a recipe does not have is left out."""
    found = {}
    for run in records:
        for key, words in (("loss", "training"), ("validation_loss", "validation")):
            values = {
                number: math.nan if (value := epoch[key]) is None else value
                for number, epoch in enumerate(run.epochs, 1)
            }
            if any(map(math.isfinite, values.values())):
                found[f"{words}, seed {run.seed}"] = values
    return found


def _seeds(records: Sequence[RunRecord]) -> str:
    return f"{len(records)} seed{'s' if len(records) > 1 else ''} together"
