"""An uploaded archive of labelled prints as subjects and samples, and a report of what is left out.

Nothing is unpacked to the disk here: whoever asked is given the images one by one.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.core.datasets import MINIMUM_FINGERS, DatasetImage
from app.core.errors import InvalidInput, WhorlError
from app.evaluation.dataset import LabelledImage, parse_names
from app.imaging.decode import ImageLimits, decode, inspect
from app.imaging.resolution import require_one_finger, resolve_dpi
from app.learning.siamese.archive_limits import ArchiveLimits
from app.learning.siamese.archives import Archive

TITLE = "the archive"
EXAMPLES = 3
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_REFUSED = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
    b"\x28\xb5\x2f\xfd": "zstd",
}

Take = Callable[[DatasetImage, bytes], None]


@dataclass(frozen=True, slots=True)
class DatasetLimits:
    """How much may be uploaded.

    Attributes:
        max_archive_bytes: of the archive as it comes.
        archive: what it may hold.
        image: what each image may be.
    """

    max_archive_bytes: int
    archive: ArchiveLimits
    image: ImageLimits


@dataclass(slots=True)
class Report:
    """What was found in an archive, and why what was left out.

    Attributes:
        skipped: reason -> names, in the order they were met.
    """

    files: int = 0
    bytes: int = 0
    skipped: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    samples_of: Counter[str] = field(default_factory=Counter)
    subjects: set[str] = field(default_factory=set)

    @property
    def usable_fingers(self) -> int:
        """Fingers with two samples or more: those that teach what belongs together."""
        return sum(count > 1 for count in self.samples_of.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: counts, and each reason with a few names."""
        return {
            "files": self.files,
            "fingers_with_one_sample": len(self.samples_of) - self.usable_fingers,
            "skipped": [
                {"reason": reason, "count": len(names), "examples": names[:EXAMPLES]}
                for reason, names in sorted(self.skipped.items(), key=lambda item: -len(item[1]))
            ],
        }


def unpack(
    source: Path, limits: DatasetLimits, take: Take, *, pattern: str | None, dpi: float | None
) -> Report:
    """Check an archive and hand on every image of it that can be learned from.

    Args:
        source: a zip, a tar or a tar.gz, by its content; the name does not matter.
        take: is given each image in the archive's order, checked and decodable.
        pattern: see ``evaluation.dataset.parse_names``.
        dpi: resolution of the images that do not say theirs.

    Raises:
        InvalidInput: it is no such archive or damaged (slug ``broken_archive``), holds too much
            (``archive_too_large``) or no image with a label (``no_labelled_images``); the pattern
            is not usable (``invalid_pattern``); too few fingers have two usable images
            (``too_few_fingers``, the report in the context).
    """
    try:
        return _unpacked(
            Archive(source, TITLE, limits.archive, zipped=_is_zip(source)),
            limits.image,
            take,
            pattern,
            dpi,
        )
    except InvalidInput as error:
        if error.slug != "broken_pictures":
            raise
        raise InvalidInput(error.detail, slug="broken_archive") from error


def _is_zip(source: Path) -> bool:
    """Whether it is a zip; what is neither that nor refused is taken for a tar."""
    with source.open("rb") as file:
        head = file.read(8)
    for magic, kind in _REFUSED.items():
        if head.startswith(magic):
            raise InvalidInput(
                f"{TITLE} is packed with {kind}; send a zip, a tar or a tar.gz",
                slug="broken_archive",
            )
    return head.startswith(_ZIP)


def _unpacked(
    archive: Archive, limits: ImageLimits, take: Take, pattern: str | None, dpi: float | None
) -> Report:
    report, wanted = _labelled(archive, pattern)
    seen: set[bytes] = set()
    for name, read in archive.contents(wanted):
        image = wanted[name]
        try:
            data = read()
            digest = hashlib.sha256(data).digest()
            if digest in seen:
                report.skipped["the same image came before"].append(name)
                continue
            _check(data, limits, dpi)
        except WhorlError as error:
            report.skipped[error.slug.replace("_", " ")].append(name)
            continue
        seen.add(digest)
        take(image, data)
        report.bytes += len(data)
        report.samples_of[image.finger] += 1
        report.subjects.add(image.subject)
    _require_fingers(report)
    return report


def _labelled(archive: Archive, pattern: str | None) -> tuple[Report, dict[str, DatasetImage]]:
    """What the names say; labels and reasons are kept, so they must be text."""
    report, listing = Report(), archive.listing
    report.files = len(listing.names) + len(listing.skipped)
    for name, reason in listing.skipped.items():
        report.skipped[reason].append(_shown(name))
    names: dict[Path, str] = {}
    for name in listing.names:
        if name.isprintable():
            names[Path(name)] = name
        else:
            report.skipped["its name cannot be printed"].append(_shown(name))
    labelled = parse_names(names, pattern)
    for item in labelled.skipped:
        report.skipped[item.reason].append(names[item.path])
    return report, {
        names[image.path]: DatasetImage(names[image.path], _label(image))
        for image in labelled.images
    }


def _label(image: LabelledImage) -> dict[str, str]:
    """All that the name says."""
    return {key: value for key, value in asdict(image).items() if key != "path"}


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _check(data: bytes, limits: ImageLimits, dpi: float | None) -> None:
    """Whether it is a print that training can prepare; its header is judged before its pixels."""
    header = inspect(data, limits)
    resolution, _ = resolve_dpi(header.file_dpi, dpi, None)
    require_one_finger(header.width_px, header.height_px, resolution)
    decode(data, header)


def _require_fingers(report: Report) -> None:
    if report.usable_fingers >= MINIMUM_FINGERS:
        return
    told = report.to_dict()
    reasons = ", ".join(f"{entry['reason']} ({entry['count']})" for entry in told["skipped"][:3])
    raise InvalidInput(
        f"{report.usable_fingers} fingers have two usable images or more, training needs at least "
        f"{MINIMUM_FINGERS}; {report.samples_of.total()} images can be used"
        + (f", left out: {reasons}" if reasons else ""),
        slug="too_few_fingers",
        **told,
    )
