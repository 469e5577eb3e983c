"""What a recipe of pictures that somebody brings may be: consistent, and no larger than a machine.

Beyond the range of single fields, which ``recipe_data`` checks as it reads them.
"""

from __future__ import annotations

import math
from pathlib import PurePosixPath

import regex

from app.core.params import MatchingParams
from app.evaluation.dataset import MAX_PATTERN_CHARS
from app.learning.siamese.recipe import PAIR_LOSSES, DataParams, LossKind, SiameseRecipe
from app.learning.siamese.stack_cost import stack_cost

MAX_SIDE_PX = 1024
MAX_EPOCHS = 100_000
MAX_BLUR_PX = 1.0
"""The blur has five taps: all but 1% of a Gaussian of this deviation, ever less of a wider one."""
MAX_PARAMETERS = 100_000_000
MAX_BATCH_VALUES = 1_000_000_000
"""Of all maps of a batch: four gigabytes in single precision."""
MAX_TEMPLATE_VALUES = 100_000
EMBEDDED_AT_ONCE = 256
"""Pictures; see ``network.embed_pixels``."""
GRID_LOSS = "supervised_contrastive"
"""The only one that compares maps; the others take one vector a picture."""
EVEN_SHARES = 1e-6
OF_PAIRS_AS_WELL: frozenset[LossKind] = PAIR_LOSSES | {"batch_contrastive"}
"""Have a validation loss, for which patience waits."""
OF_PAIR_DISTANCES: frozenset[LossKind] = frozenset({"contrastive", "binary_crossentropy_distance"})
OF_COSINES: frozenset[LossKind] = frozenset({"additive_margin_softmax", "supervised_contrastive"})
WITH_HARD_PAIRS = ("balanced", "each_once", "each_twice")


def check_recipe(recipe: SiameseRecipe) -> None:
    """Refuse what does not go together, leads elsewhere or asks for too much.

    Raises:
        ValueError: says what, and what is allowed.
    """
    _check_data(recipe.data)
    least, greatest = recipe.augmentation.scale
    if least > greatest:
        raise ValueError("augmentation.scale must be the least and then the greatest")
    of_pairs = recipe.loss.kind in PAIR_LOSSES
    if of_pairs == (recipe.pairing.kind == "classes"):
        raise ValueError(
            "pairing.kind must be classes for a loss of whole batches, and another one for the "
            f"losses of pairs: {', '.join(sorted(PAIR_LOSSES))}"
        )
    if recipe.matching is None and not of_pairs:
        raise ValueError(f"matching must be said where the loss is {recipe.loss.kind}")
    _check_network(recipe, of_pairs)
    _check_idle(recipe)


def _check_network(recipe: SiameseRecipe, of_pairs: bool) -> None:
    """Whether its loss and matching can use what it gives, and a machine can hold it."""
    cost = stack_cost(*recipe.preparation.shape_px, recipe.architecture_params["stack"])
    if not 1 <= cost.parameters <= MAX_PARAMETERS:
        raise ValueError(
            f"the network would have {cost.parameters:,} parameters; it may have 1 to "
            f"{MAX_PARAMETERS:,}"
        )
    if cost.shape[:-1] not in ((), (1, 1)):
        _check_grid(recipe, cost.shape)
    last = recipe.architecture_params["stack"][-1]["layer"]
    if recipe.loss.kind in OF_COSINES and last != "unit":
        raise ValueError(
            f"architecture_params.stack ends in {last}, and {recipe.loss.kind} compares by "
            "cosines, which embeddings of any length do not give; it must end in unit"
        )
    at_once = max(recipe.schedule.batch * (2 if of_pairs else 1), EMBEDDED_AT_ONCE)
    if cost.values * at_once > MAX_BATCH_VALUES:
        raise ValueError(
            f"a batch would fill {cost.values * at_once:,} values in the network's maps; at most "
            f"{MAX_BATCH_VALUES:,} are allowed: smaller pictures, fewer filters, a smaller batch"
        )


def _check_grid(recipe: SiameseRecipe, shape: tuple[int, ...]) -> None:
    if recipe.loss.kind != GRID_LOSS or not isinstance(recipe.matching, MatchingParams):
        raise ValueError(
            "the network gives a map of cells; end it with flatten or global_average, or take the "
            f"loss {GRID_LOSS} and the matching of a grid, without a measure"
        )
    shifts = max(recipe.loss.shift_cells, recipe.matching.max_shift_cells)
    if shifts >= min(shape[:2]):
        raise ValueError(f"a map of {shape[0]} x {shape[1]} cells cannot be shifted by {shifts}")
    if math.prod(shape) > MAX_TEMPLATE_VALUES:
        raise ValueError(
            f"a template would have {math.prod(shape):,} values, at most {MAX_TEMPLATE_VALUES:,} "
            "are allowed: strides make fewer cells"
        )


def _check_idle(recipe: SiameseRecipe) -> None:
    """Refuse settings that would do nothing: somebody would take the run for one that has them."""
    loss, pairing, patience = recipe.loss, recipe.pairing, recipe.schedule.patience
    if patience and loss.kind not in OF_PAIRS_AS_WELL:
        raise ValueError(
            f"schedule.patience is {patience}, and {loss.kind} has no validation loss to wait for; "
            f"it must be 0, or loss.kind one of {', '.join(sorted(OF_PAIRS_AS_WELL))}"
        )
    if pairing.hard_share and (pairing.fixed or pairing.kind not in WITH_HARD_PAIRS):
        found = "fixed pairs" if pairing.fixed else f"the kind {pairing.kind}"
        raise ValueError(
            f"pairing.hard_share is {pairing.hard_share:g}, and {found} takes no hard pairs; it "
            "must be 0, or pairing.fixed false and pairing.kind one of "
            f"{', '.join(WITH_HARD_PAIRS)}"
        )
    if loss.dropped_cells and loss.kind != GRID_LOSS:
        raise ValueError(
            f"loss.dropped_cells is {loss.dropped_cells:g}, and {loss.kind} drops none; it must be "
            f"0, or loss.kind {GRID_LOSS}"
        )
    if loss.clamped and loss.kind not in OF_PAIR_DISTANCES:
        raise ValueError(
            f"loss.clamped is true, and {loss.kind} takes no distance of a pair; it must be false, "
            f"or loss.kind one of {', '.join(sorted(OF_PAIR_DISTANCES))}"
        )


def _check_data(data: DataParams) -> None:
    if abs(sum(data.shares) - 1) > EVEN_SHARES:
        raise ValueError("data.shares must sum to 1")
    path = PurePosixPath(data.path)
    plain = not path.is_absolute() and ".." not in path.parts and "\\" not in data.path
    if data.path and not (plain and path.parts and str(path) == data.path):
        raise ValueError("data.path must lie below the folder of data sets, without '.' and '..'")
    if (data.kind == "stripes") == bool(data.path):
        raise ValueError("data.path must name a data set, but for stripes, which are drawn")
    if data.pattern is None:
        return
    if len(data.pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"data.pattern may have {MAX_PATTERN_CHARS} characters")
    try:
        groups = regex.compile(data.pattern).groupindex
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"data.pattern is not a regular expression: {error}") from error
    if not {"finger", "subject"} & set(groups):
        raise ValueError("data.pattern must name (?P<finger>...) or (?P<subject>...), or both")
