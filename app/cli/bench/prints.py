"""What is measured with: captures as a reader sends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from app.core.loaded_model import CalibrationTable
from app.core.params import MatchingParams, PreparationParams
from app.core.ports import LoadedModel
from app.evaluation.dataset import parse_names
from app.synth import impress, population

SET, DPI = "FVC2002/DB1_B", 500.0
FINGERS, EACH = 10, 8
SEED = 23


@dataclass(frozen=True, slots=True)
class Captures:
    """Files of prints, ``EACH`` of a finger.

    Attributes:
        source: what they are, for the page.
        files: of finger f, impression k: ``files[f][k]``.
    """

    source: str
    dpi: float
    files: Sequence[Sequence[bytes]]

    @property
    def all_files(self) -> list[bytes]:
        """The captures one after the other."""
        return [data for of_one in self.files for data in of_one]

    def probe(self, number: int) -> tuple[int, bytes]:
        """The n-th of a round of probes, finger after finger: whose it is, and its file. The first
        capture of a finger is never one: it is enrolled.
        """
        finger = number % len(self.files)
        of_one = self.files[finger]
        return finger, of_one[1 + number // len(self.files) % (len(of_one) - 1)]

    def claim(self, number: int, off: int = 0) -> tuple[bytes, int]:
        """The n-th probe's file, and the finger it is claimed to be of: so many after its own."""
        finger, data = self.probe(number)
        return data, (finger + off) % len(self.files)


@dataclass(frozen=True, slots=True)
class PrintParams:
    """How a model of prints prepares and compares, and what its scores mean."""

    preparation: PreparationParams
    matching: MatchingParams
    calibration: CalibrationTable

    @classmethod
    def of(cls, model: LoadedModel) -> PrintParams:
        """A loaded model's.

        Raises:
            TypeError: it is not one of prints.
        """
        preparation, matching = model.preparation, model.matching
        if isinstance(preparation, PreparationParams) and isinstance(matching, MatchingParams):
            return cls(preparation, matching, model.own_calibration)
        raise TypeError(f"{model.id} is not a model of prints")


def captures(datasets: Path) -> Captures:
    """A public set where it is there, else as many generated prints."""
    folder = datasets / SET
    if not folder.is_dir():
        return Captures("generated prints", DPI, [_generated(f) for f in range(FINGERS)])
    found = parse_names([path for path in folder.rglob("*") if path.is_file()], None).images
    of_finger: dict[str, list[bytes]] = {}
    for image in found:
        of_finger.setdefault(image.finger, []).append(image.path.read_bytes())
    return Captures(SET, DPI, list(of_finger.values()))


def _generated(finger: int) -> list[bytes]:
    (master,) = population(SEED + finger, 1)
    files = []
    for impression in range(EACH):
        made = impress(master, np.random.default_rng([SEED, finger, impression]))
        file = BytesIO()
        image = Image.fromarray(made.image).resize(
            (made.image.shape[1] * 2, made.image.shape[0] * 2), Image.Resampling.BICUBIC
        )
        image.save(file, "PNG")
        files.append(file.getvalue())
    return files
