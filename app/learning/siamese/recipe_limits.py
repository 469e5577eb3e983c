"""What a recipe of pictures that somebody brings may be: consistent, and no larger than a machine.

Beyond the range of single fields, which ``recipe_data`` checks as it reads them.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath

from app.core.params import MatchingParams
from app.evaluation.dataset import MAX_PATTERN_CHARS
from app.learning.siamese.recipe import PAIR_LOSSES, DataParams, SiameseRecipe
from app.learning.siamese.stack_cost import stack_cost

MAX_SIDE_PX = 1024
MAX_EPOCHS = 100_000
MAX_PARAMETERS = 100_000_000
MAX_BATCH_VALUES = 1_000_000_000
"""Of all maps of a batch: four gigabytes in single precision."""
MAX_TEMPLATE_VALUES = 100_000
EMBEDDED_AT_ONCE = 256
"""Pictures; see ``network.embed_pixels``."""
GRID_LOSS = "supervised_contrastive"
"""The only one that compares maps; the others take one vector a picture."""
EVEN_SHARES = 1e-6


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
        groups = re.compile(data.pattern).groupindex
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"data.pattern is not a regular expression: {error}") from error
    if not {"finger", "subject"} & set(groups):
        raise ValueError("data.pattern must name (?P<finger>...) or (?P<subject>...), or both")
