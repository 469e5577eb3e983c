"""Jobs of re-embedding in the worker: the kept images under a model that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.bootstrap.home import Home
from app.core.records import Job
from app.settings import Settings
from app.worker.loop import Finish, Handler


def reembedding_handler(settings: Settings, home: Home) -> Handler:
    """Carries out jobs of the kind ``reembed``; the tensor library is loaded with the first."""

    def handle(job: Job, sink: Callable[[dict[str, Any]], None]) -> Finish:
        sink({"phase": "starting"})
        from app.bootstrap.recognition import image_limits, wire_recognition
        from app.services.reembedding import Reembedding, carry_out

        wired = wire_recognition(settings, home, warm=False)
        try:
            tools = Reembedding(home.store, wired.shelf, image_limits(settings))
            return carry_out(tools, job, sink)
        finally:
            wired.shelf.release(())

    return handle
