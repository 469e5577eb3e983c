"""Whether a fit of prints stands still: its loss is what one score for every pair would cost."""

from __future__ import annotations

import math
from collections.abc import Callable

from app.learning.fit import Told
from app.learning.history import Epoch
from app.learning.recipes import ContrastParams, Recipe
from app.learning.siamese.diagnosis import CONSTANT_SHARE, FirstShown, Symptom


def constant_loss(fingers: int, contrast: ContrastParams) -> float:
    """``GridContrast`` of a batch in which all scores are the same.

    Args:
        fingers: in the batch, two impressions each.
    """
    others = 2 * fingers - 2
    return math.log1p(others * math.exp(contrast.scale * contrast.margin))


def standstill(loss: float, fingers: int, contrast: ContrastParams) -> Symptom | None:
    """The symptom of an epoch that has learned nothing, as of a collapsed embedding.

    Args:
        loss: mean over the epoch.
        fingers: in a batch.
    """
    constant = constant_loss(fingers, contrast)
    if loss < CONSTANT_SHARE * constant:
        return None
    return Symptom(
        "no_better_than_a_constant",
        f"the loss is {loss:.3f}; giving every pair the same score costs {constant:.3f}. The "
        "embeddings may have collapsed: try a lower learning rate, or weights that have learned",
    )


def diagnosing(
    recipe: Recipe, symptoms: FirstShown, epochs_before: int, say: Callable[[str], None]
) -> Told:
    """Says what keeps a fit from learning, once, when an epoch shows it.

    Args:
        recipe: of the fit.
        symptoms: remembers what was said.
        epochs_before: of earlier fits of the same training.
    """

    def told(number: int, epoch: Epoch) -> None:
        if number == 1:  # it warms up, and may have learned next to nothing yet
            return
        found = standstill(epoch.loss, recipe.schedule.batch_fingers, recipe.contrast)
        for new in symptoms.note(epochs_before + number, [] if found is None else [found]):
            say(new.detail)

    return told
