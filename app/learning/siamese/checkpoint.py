"""The state of a fit on pictures after an epoch, in one file, so that a killed fit goes on from it.

One safetensors file holds the arrays, and in its header as JSON what else decides how the fit goes
on; renamed into place, it is whole or not there. Neither format can run code at load.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from app.learning.siamese.network import Pictures
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.recipe import SiameseRecipe

log = logging.getLogger(__name__)

FILE = "siamese.safetensors"
_FACTS = "facts"


class Checkpoint:
    """Where the state of one fit is kept; without a folder nowhere.

    Args:
        model: the compiled model that is fitted: encoder, head, random states and optimiser. The
            pictures in it are left out, for they are read again.
        recipe: with ``train`` it tells whose state a file holds: that of another fit is passed
            over.
    """

    def __init__(
        self,
        folder: Path | None,
        model: keras.Model,
        recipe: SiameseRecipe,
        train: LabelledPictures,
    ) -> None:
        self._path = None if folder is None else folder / FILE
        self._model = model
        self._fit = "" if folder is None else _digest(recipe, train)

    def keep(self, facts: dict[str, Any]) -> None:
        """Write the state, in place of the one before.

        Args:
            facts: what belongs to it beside the arrays; JSON-ready.
        """
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        arrays = {
            name: np.array(keras.ops.convert_to_numpy(variable), order="C")
            for name, variable in self._variables().items()
        }
        save_file(arrays, fresh, {_FACTS: json.dumps({"fit": self._fit, **facts})})
        os.replace(fresh, self._path)

    def restore(self) -> dict[str, Any] | None:
        """Put the model into the state that was kept.

        Returns:
            The facts of that state; None, and the model as it was, where there is none of this fit
            or a power loss has torn it.
        """
        if self._path is None or not self._path.is_file():
            return None
        try:
            with safe_open(self._path, "numpy") as file:
                facts: dict[str, Any] = json.loads((file.metadata() or {})[_FACTS])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            log.warning("the state of the fit cannot be read, it begins anew: %s", error)
            return None
        variables = self._variables()
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        if facts.get("fit") != self._fit or {k: a.shape for k, a in arrays.items()} != shapes:
            log.warning("the state that was found is of another fit; this one begins anew")
            return None
        for name, variable in variables.items():
            variable.assign(arrays[name])
        return facts

    def _variables(self) -> dict[str, Any]:
        """All that a step changes, by place: paths hold numbers that count up in a process."""
        optimizer = self._model.optimizer
        optimizer.build(self._model.trainable_variables)
        shown = {
            id(variable)
            for layer in self._model.layers
            if isinstance(layer, Pictures)
            for variable in layer.variables
        }
        known = [v for v in self._model.variables if id(v) not in shown] + optimizer.variables
        return {f"{place:04d}": variable for place, variable in enumerate(known)}


def _digest(recipe: SiameseRecipe, train: LabelledPictures) -> str:
    told = json.dumps([recipe.to_dict(), train.classes, train.names], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()
