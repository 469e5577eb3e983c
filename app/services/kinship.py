"""Whether a descriptor under one model may stand for a template that other models know too."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from app.core.ports import LiveModels, LoadedModel
from app.core.records import ReferenceTemplate, StoredDescriptor

Known = TypeVar("Known", ReferenceTemplate, StoredDescriptor)


def may_stand_in(models: LiveModels, model: LoadedModel, known_under: Collection[str]) -> bool:
    """Whether the model may decide over a template that has descriptors under these models.

    It may where none of them is another's, or one is of its own kind, or none can be asked any
    more: descriptors are only ever added under a model of the same kind (``may_take_over``).
    """
    others = [models.kind_of(model_id) for model_id in known_under if model_id != model.id]
    return not others or model.kind in others or None in others


def may_take_over(models: LiveModels, model: LoadedModel, known_under: Collection[str]) -> bool:
    """Whether a template under these models may be given a descriptor under this one.

    A print is usable to any model of pictures, so what an image could be used for tells nothing:
    only its template's models say what it shows. Where they are gone, a model of prints may try,
    for it refuses what shows no ridges.
    """
    kinds = [models.kind_of(model_id) for model_id in known_under]
    return model.kind in kinds or (None in kinds and not model.of_pictures)


def enrolled_first(descriptors: Iterable[Known]) -> list[Known]:
    """One template's descriptors in the order in which they are taken where the active model has
    none: of the enrolled sample before those of a probe, then the model with the greatest id.

    So a template is compared with what was enrolled for as long as any model is left that knows it.
    """
    return sorted(descriptors, key=lambda ref: (not ref.of_probe, ref.model_id), reverse=True)
