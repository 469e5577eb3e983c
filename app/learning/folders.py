"""Labelled images of a site as a source of pairs, split by finger.

Nobody knows how two real impressions lie on each other, so the model in service is asked: the
rotation and shift at which it finds them most alike become the pair's common frame.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import ArrayLike

from app.core.datasets import MINIMUM_FINGERS
from app.core.errors import InvalidInput, WhorlError
from app.core.params import MatchingParams, PreparationParams
from app.core.types import Descriptor, FloatArray, PreparedSample
from app.evaluation.dataset import LabelledImage, LabelledSet, parse_names
from app.imaging.pipeline import prepare
from app.learning.judge import Gallery, embed_gallery
from app.learning.pairs import View
from app.learning.prints import Report, counting
from app.matching.score import align
from app.networks.forward import inference_function
from app.networks.pose import find_poses

POSITION, DEVICE, DATASET = "finger position", "device", "data set"

Load = Callable[[LabelledImage], tuple[bytes, float | None]]
"""Gives a labelled image's file, and its resolution where the file does not say it."""


@dataclass(frozen=True, slots=True)
class LabelledSamples:
    """Prepared images of a folder.

    Attributes:
        samples: one an image.
        fingers: its finger's label.
        subjects: whom the finger belongs to; splits never part them.
        skipped: file name -> why it was left out.
        groups: "finger position", "device", "data set" -> that of each sample, "" where it is not
            told, or where there is but one data set.
        aliases: label of a finger -> what it is called outside of the training, where the label
            would tell who that is.
    """

    samples: tuple[PreparedSample, ...]
    fingers: tuple[str, ...]
    subjects: tuple[str, ...]
    skipped: dict[str, str]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of the fingers in their own data sets, as they are when one is read alone."""
        sets = self.groups.get(DATASET, ("",) * len(self.fingers))
        return tuple(
            finger.removeprefix(f"{of_set}/") if of_set else finger
            for finger, of_set in zip(self.fingers, sets, strict=True)
        )

    def of(self, subjects: frozenset[str]) -> LabelledSamples:
        """Those of some subjects."""
        return self.rows([k for k, subject in enumerate(self.subjects) if subject in subjects])

    def rows(self, rows: Sequence[int]) -> LabelledSamples:
        """Some of the samples."""
        return LabelledSamples(
            tuple(self.samples[k] for k in rows),
            tuple(self.fingers[k] for k in rows),
            tuple(self.subjects[k] for k in rows),
            {},
            {kind: tuple(of_each[k] for k in rows) for kind, of_each in self.groups.items()},
            self.aliases,
        )


def read_folder(
    folder: Path,
    params: PreparationParams,
    pattern: str | None,
    dpi: float | None,
    report: Report | None = None,
) -> LabelledSamples:
    """Read, label and prepare all images below a folder.

    Args:
        pattern: see ``evaluation.dataset.parse_names``.
        dpi: resolution of files that do not say theirs.

    Raises:
        InvalidInput: nothing could be labelled, or as ``read_labelled``.
    """
    labelled = parse_names([path for path in folder.rglob("*") if path.is_file()], pattern)

    def load(image: LabelledImage) -> tuple[bytes, float | None]:
        return image.path.read_bytes(), dpi

    return read_labelled(labelled, load, f"below {folder.name}", params, report)


def read_labelled(
    labelled: LabelledSet,
    load: Load,
    where: str,
    params: PreparationParams,
    report: Report | None = None,
) -> LabelledSamples:
    """Read and prepare images of which it is known whose finger they show.

    Args:
        where: they are, for errors.

    Raises:
        InvalidInput: fewer than ``MINIMUM_FINGERS`` fingers have two usable images (slug
            ``too_few_fingers``).
    """
    read = _prepared(labelled, params, load, report)
    usable = [rows for rows in _by_finger(read.fingers).values() if len(rows) > 1]
    if len(usable) < MINIMUM_FINGERS:
        raise InvalidInput(
            f"{len(usable)} fingers {where} have two usable images or more, training "
            f"needs at least {MINIMUM_FINGERS}; {len(read.skipped)} files were skipped",
            slug="too_few_fingers",
            skipped=dict(list(read.skipped.items())[:20]),
        )
    return read


def _prepared(
    labelled: LabelledSet, params: PreparationParams, load: Load, report: Report | None
) -> LabelledSamples:
    skipped = {item.path.name: item.reason for item in labelled.skipped}
    kept: list[tuple[LabelledImage, PreparedSample]] = []
    for done, image in enumerate(labelled.images, 1):
        try:
            data, dpi = load(image)
            capture = prepare(data, params, requested_dpi=dpi)
            kept.append((image, capture.prepared))
        except WhorlError as error:
            skipped[image.path.name] = error.detail
        if report is not None:
            report(done, len(labelled.images))
    return LabelledSamples(
        tuple(sample for _, sample in kept),
        tuple(image.finger for image, _ in kept),
        tuple(image.subject for image, _ in kept),
        skipped,
        {
            POSITION: tuple(image.position for image, _ in kept),
            DEVICE: tuple(image.device for image, _ in kept),
            DATASET: tuple(image.dataset for image, _ in kept),
        },
    )


def split_subjects(read: LabelledSamples, share: float) -> tuple[LabelledSamples, LabelledSamples]:
    """Split by subject into what is learned from and what is held out.

    A subject's side follows from the hash of its label, so that it stays when the folder grows: a
    model that is fine-tuned again is not judged on what its base has learned from. Subjects without
    a finger that was captured twice teach nothing: they are held out.

    Args:
        share: of the other subjects to learn from; at least two of them stay on either side.
    """
    paired = _paired_subjects(read)
    if len(paired) < MINIMUM_FINGERS:  # the names tell fingers but hardly persons
        read = replace(read, subjects=read.names)
        paired = _paired_subjects(read)
    places = sorted((place_of(subject), subject) for subject in paired)
    below = sum(place < share for place, _ in places)
    cut = int(np.clip(below, 2, len(places) - 2))
    learned = frozenset(subject for _, subject in places[:cut])
    return read.of(learned), read.of(frozenset(read.subjects) - learned)


def without_subjects(read: LabelledSamples, others: LabelledSamples) -> LabelledSamples:
    """What is left to learn from when nobody of some other samples is.

    Raises:
        InvalidInput: fewer than ``MINIMUM_FINGERS`` fingers with two samples
            (``too_few_fingers``).
    """
    learned = read.of(frozenset(read.subjects) - frozenset(others.subjects))
    count = sum(len(rows) > 1 for rows in _by_finger(learned.fingers).values())
    if count < MINIMUM_FINGERS:
        raise InvalidInput(
            f"{count} fingers with two usable images or more are of nobody in the benchmark, "
            f"training needs at least {MINIMUM_FINGERS}; a benchmark must show other persons",
            slug="too_few_fingers",
        )
    return learned


def place_of(subject: str) -> float:
    """A subject's fixed place in 0..1; a split learns from those below a bound."""
    return int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big") / 2**64


class FolderPairs:
    """Pairs of real impressions, aligned once by a model.

    Args:
        read: the samples to learn from.
        encoder: finds the alignment.
        pose: the encoder's pose network, where it has one.
        report: told (done, of) samples; may raise to stop.

    Attributes:
        gallery: the samples as the encoder sees them.
    """

    def __init__(
        self,
        read: LabelledSamples,
        encoder: keras.Model,
        params: MatchingParams,
        pose: keras.Model | None = None,
        report: Report | None = None,
    ) -> None:
        self._samples, self._params = read.samples, params
        find = None if pose is None else inference_function(pose)
        self._poses = [found for _, found in find_poses(find, read.samples)]
        self._fingers = [rows for rows in _by_finger(read.fingers).values() if len(rows) > 1]
        told = counting(report, len(read.samples))
        run = inference_function(encoder)
        self.gallery = embed_gallery(run, read.samples, params, told, find)
        size = read.samples[0].mask.shape[0]
        self._cell_px = size // self.gallery.mask.shape[1]
        self._half = (size - 1) / 2

    def __len__(self) -> int:
        return len(self._fingers)

    def begin_epoch(self, epoch: int) -> None:
        """A folder holds the same impressions in every epoch."""

    def close(self) -> None:
        """Nothing is under way."""

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        """Two different impressions of a finger; the first one's upright crop is their frame."""
        first, second = (int(k) for k in rng.choice(self._fingers[finger], 2, replace=False))
        centre = (self._half, self._half)
        return (
            View(
                self._samples[first].image,
                self._samples[first].mask,
                self._upright(first, 0.0, (0.0, 0.0)),
                centre,
            ),
            View(
                self._samples[second].image,
                self._samples[second].mask,
                self._placed(self.gallery, second, first),
                centre,
            ),
        )

    def _placed(self, gallery: Gallery, probe: int, reference: int) -> FloatArray:
        """Affine [2, 3]: pixel of the probe's crop -> pixel of the reference's upright crop."""
        found = align(
            gallery.probes[probe],
            Descriptor(gallery.cells[reference], gallery.mask[reference]),
            self._params,
        )
        shift_px = np.array(found.shift_cells) * self._cell_px + found.subcell_shift_px
        return self._upright(probe, found.rotation_deg, shift_px)

    def _upright(self, row: int, angle_deg: float, shift_px: ArrayLike) -> FloatArray:
        """Affine [2, 3]: pixel of a crop -> pixel of it upright, then turned and shifted."""
        pose = self._poses[row]
        angle = np.deg2rad(angle_deg - pose.rotation_deg)
        cos, sin = np.cos(angle), np.sin(angle)
        # counter-clockwise as seen, in image coordinates with y downwards, as imaging.rotate turns
        turn = np.array([[cos, sin], [-sin, cos]])
        offset = self._half - turn @ (self._half + np.array(pose.core_px)) + np.asarray(shift_px)
        return np.column_stack([turn, offset]).astype(np.float32)


def _paired_subjects(read: LabelledSamples) -> list[str]:
    """Subjects with at least one finger of which there are two samples."""
    rows = _by_finger(read.fingers).values()
    return sorted({read.subjects[of_one[0]] for of_one in rows if len(of_one) > 1})


def _by_finger(fingers: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, finger in enumerate(fingers):
        rows[finger].append(row)
    return rows
