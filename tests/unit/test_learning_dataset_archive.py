"""Uploaded archives: what is handed on, what is left out and why, what is refused at once."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.datasets import DatasetImage
from app.core.errors import InvalidInput
from app.imaging.decode import ImageLimits
from app.learning.dataset_archive import DatasetLimits, Report, unpack
from app.learning.siamese.archive_limits import ArchiveLimits
from tests.fakes.print_archives import drawn_prints, tar_bytes, zip_bytes
from tests.fakes.prints import print_png

PRINTS = drawn_prints()
LIMITS = DatasetLimits(
    10_000_000, ArchiveLimits(200_000_000, 100, 1_000_000, 200.0), ImageLimits(max_pixels=200_000)
)


def unpacked(
    tmp_path: Path, archive: bytes, limits: DatasetLimits = LIMITS, **options: Any
) -> tuple[Report, dict[str, bytes]]:
    source = tmp_path / "upload"
    source.write_bytes(archive)
    taken: dict[str, bytes] = {}

    def take(image: DatasetImage, data: bytes) -> None:
        taken[image.name] = data

    return unpack(source, limits, take, **{"pattern": None, "dpi": None, **options}), taken


def refusal(
    tmp_path: Path, archive: bytes, limits: DatasetLimits = LIMITS, **options: Any
) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        unpacked(tmp_path, archive, limits, **options)
    return caught.value


def reasons(report: Report) -> dict[str, int]:
    return {entry["reason"]: entry["count"] for entry in report.to_dict()["skipped"]}


@pytest.mark.parametrize(
    "archive",
    [zip_bytes(PRINTS), tar_bytes(PRINTS), tar_bytes(PRINTS, "w")],
    ids=["zip", "tar.gz", "tar"],
)
def test_all_kinds_give_the_same_images(tmp_path: Path, archive: bytes) -> None:
    report, taken = unpacked(tmp_path, archive)
    assert taken == PRINTS
    assert report.samples_of == {str(finger): 2 for finger in range(1, 6)}
    assert len(report.subjects) == 5
    assert report.bytes == sum(map(len, PRINTS.values()))
    assert report.to_dict() == {"files": 10, "fingers_with_one_sample": 0, "skipped": []}


def test_persons_are_told_apart_from_fingers(tmp_path: Path) -> None:
    members = {
        f"{1 + finger // 3}_{finger}_{capture}.png": print_png(finger, capture)
        for finger in range(6)
        for capture in range(2)
    }
    report, _ = unpacked(tmp_path, zip_bytes(members))
    assert report.subjects == {"1", "2"}
    assert len(report.samples_of) == 6


def test_a_pattern_and_a_resolution_of_the_callers_own(tmp_path: Path) -> None:
    members = {
        f"scan-{capture}-of-{finger}.png": print_png(finger, capture, None)
        for finger in range(4)
        for capture in range(2)
    }
    pattern = r"scan-(?P<impression>\d+)-of-(?P<finger>\d+)"
    report, _ = unpacked(tmp_path, zip_bytes(members), pattern=pattern, dpi=500.0)
    assert len(report.samples_of) == 4
    error = refusal(tmp_path, zip_bytes(members), pattern=pattern)
    assert error.slug == "too_few_fingers"
    assert error.context["skipped"][0]["reason"] == "dpi unknown"
    assert error.context["skipped"][0]["count"] == 8
    assert refusal(tmp_path, zip_bytes(members), pattern="(").slug == "invalid_pattern"


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    whole = print_png(20, 0)
    bomb = struct.pack(">II", 60_000, 60_000)
    header = b"IHDR" + bomb + b"\x08\x00\x00\x00\x00"
    pixels = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    pixels += struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IEND\xaeB`\x82"
    report, taken = unpacked(
        tmp_path,
        zip_bytes(
            PRINTS
            | {
                "../9_1.png": whole,
                "/9_2.png": whole,
                "C:\\9_3.png": whole,
                ".hidden/9_4.png": whole,
                "__MACOSX/9_5.png": whole,
                "more.zip": zip_bytes(PRINTS),
                "readme.txt": b"hello",
                "portrait.png": whole,
                "9_6.png": whole[: len(whole) // 2],
                "9_7.png": b"no image",
                "9_8.png": pixels,
                "9_9.png": PRINTS["1_1.png"],
                "9_10.png": bytes(1_000_001),
                "9_11\n.png": whole,
                "8_1.png": whole,
            }
        ),
    )
    assert set(taken) == {*PRINTS, "8_1.png"}
    assert reasons(report) == {
        "its path leads out of the archive": 3,
        "a hidden file": 2,
        "an archive within the archive": 1,
        "not an image file by its name": 1,
        "the name does not fit the pattern finger_impression": 1,
        "broken image": 1,
        "unsupported format": 1,
        "image too large": 1,
        "the same image came before": 1,
        "the file has more than 1,000,000 bytes": 1,
        "its name cannot be printed": 1,
    }
    told = report.to_dict()
    assert (told["files"], told["fingers_with_one_sample"]) == (25, 1)
    assert told["skipped"][0] == {
        "reason": "its path leads out of the archive",
        "count": 3,
        "examples": ["../9_1.png", "/9_2.png", "C:\\9_3.png"],
    }


def test_links_and_devices_in_a_tar_are_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO(tar_bytes(PRINTS, "w"))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        for name, kind in (("9_1.png", tarfile.SYMTYPE), ("9_2.png", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("9_3.png")
        info.type = tarfile.CHRTYPE
        archive.addfile(info)
    report, taken = unpacked(tmp_path, buffer.getvalue())
    assert taken == PRINTS
    assert reasons(report) == {"a link or a special file": 3}


def test_other_ways_of_packing_a_zip_are_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO(zip_bytes(PRINTS))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("9_1.png", print_png(9))
    report, _ = unpacked(tmp_path, buffer.getvalue())
    assert reasons(report) == {"packed in a way that is not read": 1}


def test_too_little_to_train_on(tmp_path: Path) -> None:
    few = drawn_prints(3, 2) | {f"{finger}_1.png": print_png(finger) for finger in range(10, 15)}
    error = refusal(tmp_path, zip_bytes(few))
    assert error.slug == "too_few_fingers"
    assert error.context["fingers_with_one_sample"] == 5
    assert refusal(tmp_path, zip_bytes({"a.txt": b"x"})).slug == "no_labelled_images"
    assert refusal(tmp_path, zip_bytes({})).slug == "no_labelled_images"


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no archive at all" * 100,
        zip_bytes(PRINTS)[:5000],
        tar_bytes(PRINTS)[:5000],
        tar_bytes(PRINTS, "w")[:5000],
        tar_bytes(PRINTS, "w:bz2"),
        tar_bytes(PRINTS, "w:xz"),
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07\x00",
    ],
    ids=["empty", "noise", "zip", "tar.gz", "tar", "bz2", "xz", "7z", "rar"],
)
def test_no_archive_or_a_damaged_one(tmp_path: Path, archive: bytes) -> None:
    assert refusal(tmp_path, archive).slug == "broken_archive"


def limited(**changed: int) -> DatasetLimits:
    numbers = {"max_bytes": 200_000_000, "max_files": 100, "max_file_bytes": 1_000_000} | changed
    return DatasetLimits(10_000_000, ArchiveLimits(**numbers, max_ratio=200.0), ImageLimits())


@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes])
def test_archives_hold_no_more_than_they_may(tmp_path: Path, pack: Any) -> None:
    archive = pack(PRINTS)
    unpacked(tmp_path, archive, limited(max_files=10))
    for limits in (limited(max_files=9), limited(max_bytes=300_000)):
        assert refusal(tmp_path, archive, limits).slug == "archive_too_large"
    zeros: Mapping[str, bytes] = {f"{number}_1.png": bytes(900_000) for number in range(60)}
    error = refusal(tmp_path, pack(zeros))
    assert error.slug == "archive_too_large"
    assert "200 times" in error.detail


def peak_of_refusing(tmp_path: Path, archive: bytes) -> tuple[InvalidInput, int]:
    tracemalloc.start()
    try:
        return refusal(tmp_path, archive), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def tar_header(name: bytes, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name.decode())
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_as_long_as_one_likes_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    size = 100_000_000
    packed = gzip.compress(tar_header(b"x", size, kind) + bytes(size), 1)
    error, peak = peak_of_refusing(tmp_path, packed + gzip.compress(b"", 1))
    assert error.slug == "archive_too_large"
    assert peak < 10_000_000


def test_a_map_of_a_sparse_file_is_not_read_into_memory(tmp_path: Path) -> None:
    header = bytearray(tar_header(b"1_1.png", 512, tarfile.GNUTYPE_SPARSE))
    header[482] = 1  # another block of the map follows, and so on
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    block = (b"00000000001\0" * 42)[:504] + b"\x01" + bytes(7)
    error, peak = peak_of_refusing(tmp_path, gzip.compress(bytes(header) + block * 100_000, 1))
    assert error.slug == "archive_too_large"
    assert peak < 20_000_000


def test_long_names_are_refused(tmp_path: Path) -> None:
    members = {"x" * 1001 + ".png": b"x"}
    for archive in (tar_bytes(members), zip_bytes(members)):
        assert refusal(tmp_path, archive).slug == "archive_too_large"


def test_a_directory_of_a_zip_as_long_as_one_likes_is_not_read(tmp_path: Path) -> None:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, *[0] * 14) + b"a"
    entry = entry[:28] + struct.pack("<H", 1) + entry[30:]
    directory = entry * 200_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 100, 100, len(directory), 0, 0)
    error, peak = peak_of_refusing(tmp_path, b"PK\x03\x04" + directory + end)
    assert error.slug == "archive_too_large"
    assert peak < 40_000_000


REFUSALS = {"broken_archive", "archive_too_large", "no_labelled_images", "too_few_fingers"}
PARTS = st.sampled_from(["..", ".", "", "a", "1_1.png", "2_2.png", "C:", "\\", "x\n", "é", "s.zip"])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
DATA = st.sampled_from([b"", b"x", print_png(7), print_png(8, 1), b"\x89PNG\r\n\x1a\n" + bytes(40)])


@settings(max_examples=40)
@given(
    members=st.dictionaries(NAMES, DATA, max_size=6),
    packed=st.sampled_from([zip_bytes, tar_bytes]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3),
)
def test_whatever_comes_is_refused_by_name_or_stays_inside(
    tmp_path_factory: pytest.TempPathFactory,
    members: dict[str, bytes],
    packed: Any,
    flips: list[tuple[int, int]],
) -> None:
    data = bytearray(packed(members | PRINTS))
    for at, by in flips:
        data[at % len(data)] ^= by
    source = tmp_path_factory.mktemp("any")
    refused: str | None = None
    try:
        report, taken = unpacked(source, bytes(data))
    except InvalidInput as error:
        refused = error.slug
    if refused is not None:
        assert refused in REFUSALS
        return
    assert all(".." not in name.split("/") and name.isprintable() for name in taken)
    assert not any(name.startswith("/") for name in taken)
    assert report.usable_fingers >= 4
    assert report.samples_of.total() == len(taken)
