"""The shipped model on the labels of real prints: right ones, and two fingers under one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from app.learning.folders import read_folder
from app.learning.judge import Gallery, embed_gallery
from app.learning.site_data import check_site_labels
from app.networks.device import find_device
from app.networks.forward import inference_function
from app.services.training_base import print_champion
from app.settings import Settings
from model_store import Registry

pytestmark = pytest.mark.timeout(600)

FOUND_SHARE = 0.75
"""Of pairs of merged fingers; about nine in ten of all on these sensors and two larger sets."""
HARD, CLEAN = "FVC2004/DB1_B", "FVC2002/DB1_B"


@pytest.mark.parametrize("name", [HARD, pytest.param(CLEAN, marks=pytest.mark.soak)])
def test_right_labels_stand_and_merged_fingers_are_found(datasets: Path, name: str) -> None:
    device = find_device("cpu")
    registry = Registry(Settings().shipped_dir)
    champion = print_champion(
        registry, device, registry.ids()[-1], dispensable=False, believed=True
    ).model
    assert champion is not None
    read = read_folder(datasets / name, champion.preparation, None, 500.0)
    first_four = [row for row in range(len(read.fingers)) if row % 8 < 4]
    read = read.rows(first_four)
    pose = None if champion.pose is None else inference_function(champion.pose.network)
    run = inference_function(champion.encoder)
    gallery = embed_gallery(run, read.samples, champion.matching, pose=pose)

    def suspects(labels: list[str], part: Gallery) -> int:
        found = check_site_labels(labels, part, champion.matching, champion.calibration)
        assert found is not None
        return len(found.suspects)

    assert suspects(list(read.fingers), gallery) == 0
    fingers = list(dict.fromkeys(read.fingers))
    merged = []
    for one, other in pairwise(fingers):
        labels = [one if label == other else label for label in read.fingers]
        merged.append(suspects(labels, gallery))
    assert np.mean(np.array(merged) > 0) >= FOUND_SHARE, merged
