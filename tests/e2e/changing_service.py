"""A live service with several models to change between, each a stranger to the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings
from model_store import Registry
from tests.e2e.live import LiveService
from tests.e2e.load import Site
from tests.e2e.scored_prints import score_prints
from tests.e2e.turned_models import publish_narrowed, publish_turned


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything.

    Attributes:
        models: beside the one that serves first.
        fingers: that are asked for.
        shown: probes of each.
        narrow: whether probes are looked at in a few views only, which is quick.
    """

    models: int
    fingers: int
    shown: int
    narrow: bool


@contextmanager
def changing_service(
    folder: Path, scale: Scale, worker_nice: int = 0
) -> Iterator[tuple[Site, list[str]]]:
    """API and worker under the release's model, and the models that it may change to."""
    shipped = Settings().shipped_dir
    release = Registry(folder / "none", (shipped,))
    base = release.shipped_ids()[-1]
    if scale.narrow:
        shipped = folder / "shipped"
        base = publish_narrowed(release, base, shipped)
    home = folder / "home"
    registry = Registry(home / "models", (shipped,))
    models = [publish_turned(registry, base, seed) for seed in range(scale.models)]
    prints = score_prints(registry, base, models, scale.fingers, scale.shown)
    env = {"WHORL_SHIPPED_DIR": str(shipped), "WHORL_DEVICE": "cpu"}
    # Scores are compared to more digits than bfloat16 has.
    env |= {"WHORL_WORKER_NICE": str(worker_nice), "WHORL_PRECISION": "float32"}
    with LiveService(home, worker=True, env=env) as live:
        site = Site(live, prints, base)
        try:
            yield site, models
        finally:
            site.close()
