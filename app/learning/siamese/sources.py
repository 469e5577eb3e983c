"""Folders, archives and files of pictures as labelled pictures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from app.core.errors import InvalidInput, WhorlError
from app.core.params import PictureParams
from app.core.types import FloatArray
from app.evaluation.dataset import LabelledImage, LabelledSet, parse_names
from app.imaging.decode import ImageLimits, decode, inspect
from app.imaging.picture import picture_pixels
from app.learning.prints import Report
from app.learning.siamese.archives import is_archive, open_archive
from app.learning.siamese.arrays import has_idx, is_fashion, read_faces, read_fashion, read_idx
from app.learning.siamese.files import MAX_FILE_BYTES, Files, Folder, Listing
from app.learning.siamese.pictures import TRAITS, LabelledPictures

# A picture of anything may be small: the 28 pixels of a digit are all there is.
PICTURE_LIMITS = ImageLimits(max_bytes=MAX_FILE_BYTES, min_side_px=1)
EXAMPLES = 3
EMPTY = "no picture in this folder could be read"


def read_pictures(
    source: Path,
    params: PictureParams,
    *,
    pattern: str | None = None,
    part: str | None = None,
    report: Report | None = None,
) -> LabelledPictures:
    """Read, label and prepare the pictures of a data set, in natural order of class and name.

    Args:
        source: a folder or an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz) of images, labelled
            by their names; the Olivetti faces as a .mat file; or a folder of the idx files of
            Fashion-MNIST or MNIST. Where a folder called fashion-mnist is not there, Keras is
            asked to fetch it.
        params: how every picture is prepared.
        pattern: for images, see ``evaluation.dataset.parse_names``.
        part: "train" (the default) or "test", for idx files only.
        report: is told how many pictures of how many were read.

    Raises:
        InvalidInput: nothing was there or could be labelled (slug ``no_labelled_pictures``); there
            are fewer than two classes, or no class has two pictures (``too_few_pictures``); a file
            is damaged (``broken_pictures``), an archive holds too much (``archive_too_large``),
            the source has no such part (``invalid_part``) or the pattern is not usable
            (``invalid_pattern``).
    """
    in_parts = has_idx(source) or (not source.exists() and is_fashion(source))
    if part is not None and not in_parts:
        raise InvalidInput(f"{source.name} has no parts; leave {part!r} out", slug="invalid_part")
    if in_parts:
        read = read_idx if source.exists() else read_fashion
        pictures = read(source, params, part or "train", report)
    elif source.suffix.lower() == ".mat" and source.is_file():
        pictures = read_faces(source, params, report)
    else:
        pictures = _read_files(_open(source), source.name, params, pattern, report)
    _check_pairs(pictures, source.name)
    return pictures


def describe_reading(pictures: LabelledPictures, examples: int = EXAMPLES) -> list[str]:
    """What was read and what was left out and why, a line each, for people.

    Args:
        examples: names of what was left out, at most, for each reason; 0 where the lines are kept
            with others than the pictures' owners, for a name may be a person's.
    """
    sizes = np.bincount(pictures.labels()) if len(pictures) else np.zeros(0, np.int64)
    lines = [
        f"{_counted(len(pictures), 'picture')} of {_counted(len(sizes), 'class', 'classes')} and "
        f"{_counted(len(set(pictures.subjects)), 'subject')}"
    ]
    conditions = Counter(pictures.conditions)
    if set(conditions) - {""}:
        counts = sorted(conditions.items())
        shown = ", ".join(f"{name or 'not said'} {count:,}" for name, count in counts)
        lines.append(f"conditions: {shown}")
    if pictures.traits:
        told = [_told_trait(pictures, name) for name in pictures.traits]
        lines.append(f"of them: {'; '.join(told)}")
    if alone := int((sizes == 1).sum()):
        have, make = ("has", "it makes") if alone == 1 else ("have", "they make")
        lines.append(
            f"{_counted(alone, 'class', 'classes')} {have} one picture only: {make} impostor "
            "pairs only"
        )
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, reason in pictures.skipped.items():
        reasons[reason].append(name)
    for reason, names in reasons.items():
        more = ", ..." if len(names) > examples else ""
        named = f" ({', '.join(names[:examples])}{more})" if examples else ""
        lines.append(f"{len(names):,} skipped: {reason}{named}")
    return lines


def _told_trait(pictures: LabelledPictures, name: str) -> str:
    """How many pictures are of whom, like "300 of men, 90 of women"."""
    counts = Counter(pictures.traits[name])
    told = [f"{counts[value]:,} of {who}" for value, who in TRAITS[name].items() if counts[value]]
    return ", ".join([*told, *([f"{counts['']:,} not said"] if counts[""] else [])])


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _open(source: Path) -> Files:
    if source.is_dir():
        return Folder(source)
    if source.is_file() and is_archive(source):
        return open_archive(source)
    found = "is none of these" if source.exists() else "is not there"
    raise InvalidInput(
        f"{source.name} {found}; give a folder or a .zip or .tar archive of images, a .mat file of "
        "the Olivetti faces, or a folder of idx files",
        slug="no_labelled_pictures",
    )


def _read_files(
    files: Files, title: str, params: PictureParams, pattern: str | None, report: Report | None
) -> LabelledPictures:
    # SOCOFing's folder says the condition, even where it is the source itself.
    top = PurePosixPath(title)
    labelled = _label(files.listing, top, pattern)
    skipped = dict(files.listing.skipped)
    skipped |= {_below(item.path, top): item.reason for item in labelled.skipped}
    images = {_below(image.path, top): image for image in labelled.images}
    pixels, kept = _prepare(files, list(images), params, skipped, report)
    skipped |= dict.fromkeys(_empty_folders(files.listing, kept), EMPTY)
    return _labelled(pixels, {name: images[name] for name in kept}, skipped)


def _label(listing: Listing, top: PurePosixPath, pattern: str | None) -> LabelledSet:
    try:
        return parse_names([Path(top / name) for name in listing.names], pattern)
    except InvalidInput as error:
        if error.slug != "no_labelled_images":
            raise
        raise InvalidInput(
            f"{top}: {error.detail}", slug="no_labelled_pictures", **error.context
        ) from error


def _below(path: Path, top: PurePosixPath) -> str:
    return path.relative_to(top).as_posix()


def _prepare(
    files: Files,
    names: list[str],
    params: PictureParams,
    skipped: dict[str, str],
    report: Report | None,
) -> tuple[FloatArray, list[str]]:
    """Pixels [kept, height, width] and names of what could be read, in the order of the names."""
    # An archive has an order of its own, so pictures go to their rows as they come.
    pixels = np.zeros((len(names), *params.shape_px), np.float32)
    rows = {name: row for row, name in enumerate(names)}
    done = np.zeros(len(names), np.bool_)
    for count, (name, read) in enumerate(files.contents(names), 1):
        try:
            data = read()
            grey = decode(data, inspect(data, PICTURE_LIMITS))
            pixels[rows[name]] = picture_pixels(grey, params)
            done[rows[name]] = True
        except WhorlError as error:
            skipped[name] = error.detail
        if report is not None:
            report(count, len(names))
    kept = [name for name, whole in zip(names, done, strict=True) if whole]
    return (pixels if done.all() else pixels[done]), kept


def _empty_folders(listing: Listing, kept: Collection[str]) -> list[str]:
    """The topmost folders in which no picture was kept."""
    filled = {parent for name in kept for parent in PurePosixPath(name).parents}
    folders = {parent for name in listing.names for parent in PurePosixPath(name).parents}
    folders |= {PurePosixPath(name) for name in listing.folders}
    empty = {folder for folder in folders - filled if folder.parent in filled}
    return [folder.as_posix() + "/" for folder in sorted(empty - {PurePosixPath(".")})]


def _labelled(
    pixels: FloatArray, images: dict[str, LabelledImage], skipped: dict[str, str]
) -> LabelledPictures:
    return LabelledPictures(
        pixels,
        classes=tuple(image.finger for image in images.values()),
        subjects=tuple(image.subject for image in images.values()),
        conditions=tuple(image.condition for image in images.values()),
        names=tuple(images),
        skipped=skipped,
        traits=_traits(images.values()),
    )


def _traits(images: Collection[LabelledImage]) -> dict[str, tuple[str, ...]]:
    """What the names say of whom the pictures show, see ``LabelledPictures``.

    A pattern of one's own can call anything a gender, a name too: only the known values are kept.
    """
    said = {trait: [getattr(image, trait) for image in images] for trait in TRAITS}
    known = {
        trait: tuple(value if value in TRAITS[trait] else "" for value in values)
        for trait, values in said.items()
    }
    return {trait: values for trait, values in known.items() if any(values)}


def _check_pairs(pictures: LabelledPictures, title: str) -> None:
    largest = int(np.bincount(pictures.labels()).max()) if len(pictures) else 0
    classes = len(set(pictures.classes))
    if classes >= 2 and largest >= 2:
        return
    said = "; ".join(describe_reading(replace(pictures, skipped=_first(pictures.skipped))))
    raise InvalidInput(
        f"{title} needs two classes, and two pictures of one of them, so that there are genuine "
        f"and impostor pairs; found {said}",
        slug="too_few_pictures" if len(pictures) else "no_labelled_pictures",
        pictures=len(pictures),
        classes=classes,
        skipped=_first(pictures.skipped),
    )


def _first(skipped: dict[str, str]) -> dict[str, str]:
    return dict(list(skipped.items())[:20])
