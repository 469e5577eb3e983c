from __future__ import annotations

from pathlib import Path

import pytest

from app.core.params import PreparationParams
from app.core.types import DpiSource, QualityReason
from app.imaging.pipeline import prepare

PARAMS = PreparationParams()
ENROL_MINIMUM = 20
SENSORS = {
    "FVC2000/DB2_B/*_[1-3].tif": 30,
    "FVC2002/DB1_B/*_[1-4].tif": 40,
    "FVC2004/DB1_B/*_[1-2].tif": 20,
    "Neurotechnology/CrossMatch/*_1.tif": 51,
    "Neurotechnology/UareU/*_1.tif": 65,
    "UPEK/*_[1-2].png": 32,
}


@pytest.mark.parametrize("pattern", sorted(SENSORS))
def test_real_prints_can_be_enrolled(datasets: Path, pattern: str) -> None:
    files = sorted(datasets.glob(pattern))
    assert len(files) == SENSORS[pattern]
    refused = [
        (file.name, capture.quality)
        for file in files
        if (capture := prepare(file.read_bytes(), PARAMS, default_dpi=500)).quality.score
        < ENROL_MINIMUM
    ]
    assert refused == []


def test_resolution_comes_from_the_file_only_where_it_is_right(datasets: Path) -> None:
    sources = {}
    for pattern in SENSORS:
        file = sorted(datasets.glob(pattern))[0]
        sources[pattern.split("/")[0]] = prepare(
            file.read_bytes(), PARAMS, default_dpi=500
        ).facts.dpi_source
    assert sources.pop("Neurotechnology") is DpiSource.FILE
    assert set(sources.values()) == {DpiSource.GALLERY}


def test_faces_are_no_fingerprints(datasets: Path) -> None:
    files = sorted(datasets.glob("att_faces/s*/1.pgm"))
    assert len(files) == 40
    for file in files:
        capture = prepare(file.read_bytes(), PARAMS, requested_dpi=150)
        assert capture.quality.reasons == (QualityReason.NOT_A_FINGERPRINT,), file.name
