"""Which finger an image shows, read from its name; nothing here opens a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import regex

from app.core.errors import InvalidInput

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff", ".webp", ".wsq"}
)
MAX_PATTERN_CHARS = 500
# A pattern may come over the network, and backtracking can take for ever.
MAX_SEARCH_S = 0.5
GROUPS = ("subject", "finger", "impression")

_END = r"\.[^./]+$"
# Matched with the path below the common folder of all images; the first that fits most is taken.
BUILT_IN_PATTERNS = {
    "SOCOFing": r"(?:^|(?P<folder>[^/]+)/)(?P<subject>\d+)__(?P<gender>[MF])_"
    r"(?P<finger>(?P<hand>Left|Right)_(?:thumb|index|middle|ring|little))_finger"
    r"(?:_(?P<impression>[A-Za-z]+))?" + _END,
    "person_finger_scan": r"(?:^|/)(?P<subject>\d+)_(?P<finger>\d+)_(?P<impression>\d+)" + _END,
    "finger_impression": r"(?:^|/)(?P<finger>\d+)_(?P<impression>\d+)" + _END,
    "letter_impression": r"(?:^|/)(?P<finger>[A-Za-z]+)_(?P<impression>\d+)" + _END,
    "one folder per finger": r"^(?P<finger>.+)/(?P<impression>[^/]+)" + _END,
}
_SOCOFING = re.compile(BUILT_IN_PATTERNS["SOCOFing"])
_ALTERED_FOLDER = re.compile(r"Altered-(Easy|Medium|Hard)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image and what its name says of it.

    Attributes:
        path: as given.
        finger: a label that no other finger of the set has.
        impression: which of the finger's captures it is.
        subject: the person, or the finger where the name does not tell persons apart.
        gender: as the name says it ("M", "F"), else "".
        hand: as the name says it ("Left", "Right"), else "".
        position: which finger of the person, as the name says it, where it tells persons and
            fingers apart; else "".
        device: what captured it, where the pattern has a group for that; else "".
        dataset: which of several data sets it is from, with which its finger's label begins then;
            else "".
        condition: of a capture of SOCOFing "real", "easy", "medium", "hard", or "altered" where
            its folder does not say how much; else "".
    """

    path: Path
    finger: str
    impression: str
    subject: str
    gender: str = ""
    hand: str = ""
    condition: str = ""
    position: str = ""
    device: str = ""
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """A file that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Images in natural order of finger and impression, and the files left out."""

    images: list[LabelledImage]
    skipped: list[SkippedImage]


def parse_names(paths: Iterable[Path], pattern: str | None = None) -> LabelledSet:
    """Label images by their names.

    Args:
        paths: the files of a set.
        pattern: a regular expression searched in the path below the common folder, with the named
            groups `finger` or `subject` (or both) and perhaps `impression` and `device`; None tries
            the names of the common public sets in turn.

    Raises:
        InvalidInput: the pattern is not usable (`invalid_pattern`), or no image could be labelled
            (`no_labelled_images`).
    """
    files = sorted(set(paths), key=_natural)
    found = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    others = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
    skipped = [SkippedImage(path, "not an image file by its name") for path in others]
    below = _below_common_folder(found)
    name, expression = _choose(below) if pattern is None else ("asked for", _compile(pattern))
    images: list[LabelledImage] = []
    for path, relative in zip(found, below, strict=True):
        image = _label(path, relative, expression)
        if image is None:
            skipped.append(SkippedImage(path, f"the name does not fit the pattern {name}"))
        else:
            images.append(image)
    if not images:
        raise InvalidInput(
            f"none of {len(files)} files could be labelled; name them like 101_1.png "
            "(finger_impression), put each finger into its own folder, or give a pattern with "
            "the groups finger and impression",
            slug="no_labelled_images",
            files=len(files),
        )
    images = _told_apart(images)
    images.sort(key=lambda image: (_natural(image.finger), _natural(image.impression)))
    return LabelledSet(images, skipped)


def _compile(pattern: str) -> regex.Pattern[str]:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise InvalidInput(
            f"the pattern has {len(pattern)} characters; at most {MAX_PATTERN_CHARS} are allowed",
            slug="invalid_pattern",
        )
    try:
        expression = regex.compile(pattern)
    except (regex.error, OverflowError) as error:
        raise InvalidInput(
            f"the pattern is not a regular expression: {error}", slug="invalid_pattern"
        ) from error
    if not {"finger", "subject"} & set(expression.groupindex):
        raise InvalidInput(
            "the pattern needs a named group finger or subject, like (?P<finger>...)",
            slug="invalid_pattern",
        )
    return expression


def _choose(below: Sequence[str]) -> tuple[str, regex.Pattern[str]]:
    """The first built-in pattern that fits more than half of the names, else the best fitting."""
    patterns = {name: regex.compile(text) for name, text in BUILT_IN_PATTERNS.items()}
    fits = {name: sum(bool(p.search(b)) for b in below) for name, p in patterns.items()}
    chosen = next((name for name, fit in fits.items() if 2 * fit > len(below)), None)
    chosen = chosen or max(fits, key=fits.__getitem__)
    return chosen, patterns[chosen]


def _label(path: Path, relative: str, expression: regex.Pattern[str]) -> LabelledImage | None:
    try:
        # concurrent: a slow pattern must not hold up the other threads of a server.
        match = expression.search(relative, timeout=MAX_SEARCH_S, concurrent=True)
    except TimeoutError:
        raise InvalidInput(
            f"the pattern takes more than {MAX_SEARCH_S} s for the name {path.name!r}; make it "
            "simpler, without repeats inside repeats",
            slug="invalid_pattern",
        ) from None
    if match is None:
        return None
    groups = match.groupdict()
    subject, finger, impression = (groups.get(name) for name in GROUPS)
    label = "_".join(part for part in (subject, finger) if part)
    if not label:
        return None
    capture = "/".join(part for part in (groups.get("folder"), impression or path.stem) if part)
    return LabelledImage(
        path,
        label,
        capture,
        subject or label,
        gender=groups.get("gender") or "",
        hand=groups.get("hand") or "",
        condition=_condition(path),
        position=(finger or "") if subject else "",
        device=groups.get("device") or "",
    )


def _condition(path: Path) -> str:
    """How a capture of SOCOFing came about, whatever pattern labels it."""
    found = _SOCOFING.search(path.name)
    if found is None:
        return ""
    if found.group("impression") is None:
        return "real"
    folder = _ALTERED_FOLDER.fullmatch(path.parent.name)
    return "altered" if folder is None else folder.group(1).lower()


def _told_apart(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Put the folder before the finger where several folders use the same labels, as FVC does."""
    if len({(image.finger, image.impression) for image in images}) == len(images):
        return list(images)
    below = _below_common_folder([image.path for image in images])
    folders = [PurePath(relative).parent.as_posix() for relative in below]
    return [
        replace(image, finger=f"{folder}/{image.finger}")
        for image, folder in zip(images, folders, strict=True)
    ]


def _below_common_folder(paths: Sequence[Path]) -> list[str]:
    if not paths:
        return []
    shared = 0
    for parts in zip(*(path.parent.parts for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    return [PurePath(*path.parts[shared:]).as_posix() for path in paths]


def _natural(value: Path | str) -> list[tuple[int, str]]:
    """Sort key in which 2 comes before 10."""
    text = value.as_posix() if isinstance(value, Path) else value
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)
    ]
