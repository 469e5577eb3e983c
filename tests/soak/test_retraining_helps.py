"""A fine-tuning on a public sensor: better there, no worse elsewhere, in minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from app.cli.retraining import SITE, link, measured, split_site, tune
from app.evaluation.dataset import parse_names
from app.settings import Settings

pytestmark = pytest.mark.timeout(3600)

FINGERS, SCANS = 35, 4
MOST_S = 600.0
"""On two cores that do nothing else."""


def test_a_site_gains_a_third_and_nobody_else_loses(datasets: Path, tmp_path: Path) -> None:
    files = sorted(path for path in (datasets / SITE).rglob("*") if path.is_file())
    split = split_site(parse_names(files, None).images, FINGERS, SCANS)
    settings = Settings().model_copy(update={"home": tmp_path / "home"})
    screen = Console(stderr=True)
    tuned = tune(settings, split, screen)
    assert tuned.outcome.result["gate"]["better"], tuned.outcome.result["gate"]["reasons"]
    assert sum(tuned.seconds.values()) < MOST_S, tuned.seconds
    others = tmp_path / "others"
    link(others, split.others)
    folders = {"site": others, "elsewhere": datasets / "FVC2002/DB1_B"}
    before, after = (
        [found.evaluation.eer for found in measured(settings, model_id, folders, screen)]
        for model_id in (tuned.champion, tuned.outcome.model_id)
    )
    assert after[0] <= before[0] * 2 / 3, (before, after)
    assert after[1] <= before[1], (before, after)
