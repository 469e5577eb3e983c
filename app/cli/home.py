"""The home folder as commands open it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from app.core.errors import WhorlError
from app.core.records import Scope
from app.services.context import Actor, Recognition
from app.services.newest_model import newest_of_recipe
from app.settings import Settings

if TYPE_CHECKING:
    from app.bootstrap.home import Home

ACTOR = Actor("cli", frozenset(Scope))
"""Whoever has a shell on the home folder may do everything."""


@contextmanager
def existing_home(settings: Settings) -> Iterator[Home]:
    """The home folder; where there is none yet a passing one, so that looking creates nothing."""
    from app.bootstrap.home import open_home

    if settings.database.exists():
        with open_home(settings) as home:
            yield home
        return
    with TemporaryDirectory(prefix="whorl-") as folder:
        # The passing home lists the models where the real one would have them.
        passing = {"home": Path(folder), "model_dir": settings.models}
        with open_home(settings.model_copy(update=passing)) as home:
            yield home


@contextmanager
def open_recognition(
    settings: Settings, home: Home, model_id: str | None = None, recipe: str | None = None
) -> Iterator[Recognition]:
    """Recognition in this process, under the model in service, a given one or a recipe's newest.

    Raises:
        InvalidInput: the recipe has trained no model (``no_model_of_recipe``).
        ModelRefused, NotFound: the model cannot be loaded.
        WhorlError: the device or the runtime that was demanded is not there (``no_device``,
            ``no_runtime``).
    """
    from app.bootstrap.recognition import image_limits, wire_recognition
    from app.services.serve_models import Serving, start_serving

    if recipe is not None:
        model_id = newest_of_recipe(home.registry, recipe)
    try:
        wired = wire_recognition(settings, home, warm=False)
    except RuntimeError as error:
        raise WhorlError(str(error), slug="no_device") from error
    try:
        if model_id is None:
            start_serving(Serving(home.store, wired.shelf, image_limits(settings), lambda: False))
        else:
            wired.shelf.activate(wired.shelf.get(model_id))
        yield wired.recognition
    finally:
        wired.shelf.release(())
