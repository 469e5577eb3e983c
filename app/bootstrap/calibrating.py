"""Calibration jobs in the worker: the model in service on the samples of a gallery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.bootstrap.home import Home
from app.core.errors import NotFound
from app.core.records import Job, ModelAlias
from app.services import site_calibrations
from app.services.calibration_order import CalibrationOrder
from app.services.context import Actor
from app.settings import Settings
from app.worker.loop import Finish, Handler


def calibration_handler(settings: Settings, home: Home, actor: Actor) -> Handler:
    """Carries out jobs of the kind ``calibrate``; the tensor library is loaded with the first."""

    def handle(job: Job, sink: Callable[[dict[str, Any]], None]) -> Finish:
        sink({"phase": "starting"})
        from app.bootstrap.recognition import wire_recognition
        from app.services.calibrate_site import calibrate_gallery

        order = CalibrationOrder.from_dict(job.spec)
        with home.store.read() as tx:
            champion = tx.aliases.get(ModelAlias.CHAMPION)
        if champion is None:
            raise NotFound("no model is in service: the store names no champion")
        wired = wire_recognition(settings, home, warm=False)
        try:
            model = wired.shelf.get(champion)
            made = calibrate_gallery(wired.recognition, model, order, sink)
        finally:
            wired.shelf.release(())

        def finish() -> None:
            site_calibrations.conclude(home.store, actor, job, made, applies=order.apply)

        return finish

    return handle
