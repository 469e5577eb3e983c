"""Pictures in archives: as in folders, and what is skipped or refused."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from app.learning.siamese import archives
from app.learning.siamese.sources import read_pictures
from tests.fakes.picture_files import FACES, SMALL, fill, levels, png, slug_of, tar_of, zip_of


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_reads_as_its_folder_does(tmp_path: Path, suffix: str) -> None:
    folder = fill(tmp_path / "faces", FACES)
    members = {f"./{name}": png(level) for name, level in reversed(FACES.items())}
    path = tmp_path / f"faces.{suffix}"
    if suffix == "zip":
        zip_of(path, members)
    else:
        tar_of(path, members, "w:" + suffix.partition(".")[2])
    read, expected = read_pictures(path, SMALL), read_pictures(folder, SMALL)
    assert read.names == expected.names
    assert read.classes == expected.classes
    np.testing.assert_array_equal(read.pixels, expected.pixels)
    assert read.skipped == {}


HOSTILE = {
    "../s1/1.png": "leads out",
    "/s1/1.png": "leads out",
    "C:\\s1\\1.png": "leads out",
    "s1\\..\\..\\1.png": "leads out",
    "inner.zip": "archive within",
    "__MACOSX/s1/._1.png": "hidden",
}


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_members_that_must_not_be_read_are_skipped(tmp_path: Path, suffix: str) -> None:
    pictures = {name: png(level) for name, level in FACES.items()}
    members = pictures | {name: png(1) for name in HOSTILE}
    make = zip_of if suffix == "zip" else tar_of
    read = read_pictures(make(tmp_path / f"faces.{suffix}", members), SMALL)
    assert read.names == tuple(FACES)
    assert set(read.skipped) == set(HOSTILE)
    for name, reason in HOSTILE.items():
        assert reason in read.skipped[name]


def test_links_in_archives_are_skipped(tmp_path: Path) -> None:
    pictures = {name: png(level) for name, level in FACES.items()}
    path = tar_of(tmp_path / "faces.tar", pictures, "w")
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("s1/11.png")
        link.type, link.linkname = tarfile.SYMTYPE, "2.png"
        archive.addfile(link)
    assert read_pictures(path, SMALL).skipped == {"s1/11.png": "a link or a special file"}
    zipped = zip_of(tmp_path / "faces.zip", pictures)
    with zipfile.ZipFile(zipped, "a") as opened:
        info = zipfile.ZipInfo("s1/11.png")
        info.external_attr = 0o120777 << 16
        opened.writestr(info, "2.png")
    assert read_pictures(zipped, SMALL).skipped == {"s1/11.png": "a link or a special file"}


def test_the_first_of_two_members_of_a_name_counts(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "faces.tar", {n: png(level) for n, level in FACES.items()}, "w")
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("s1/2.png")
        info.size = len(png(255))
        archive.addfile(info, io.BytesIO(png(255)))
    read = read_pictures(path, SMALL)
    assert levels(read) == list(FACES.values())
    assert list(read.skipped) == ["s1/2.png (again)"]


def test_archives_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {name: png(level) for name, level in FACES.items()}
    large = {"s1/3.png": bytes(5000)}
    paths = [
        tar_of(tmp_path / "a.tar.gz", pictures | large),
        zip_of(tmp_path / "a.zip", pictures | large),
    ]
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 4000)
    for path in paths:
        assert "bytes" in read_pictures(path, SMALL).skipped["s1/3.png"]
    monkeypatch.setattr(archives, "MAX_FILES", 6)
    assert [slug_of(path) for path in paths] == ["archive_too_large"] * 2
    monkeypatch.setattr(archives, "MAX_FILES", 7)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 5000)
    assert [slug_of(path) for path in paths] == ["archive_too_large"] * 2


def test_headers_of_a_tar_count_towards_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("s1/1.png")
        info.pax_headers = {"comment": "x" * 200_000}
        archive.addfile(info)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 100_000)
    assert slug_of(path) == "archive_too_large"


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_damaged_archives_are_refused(tmp_path: Path, suffix: str) -> None:
    pictures = {name: png(level) for name, level in FACES.items()}
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "zip":
        zip_of(whole, pictures)
    else:
        tar_of(whole, pictures, "w:" + suffix.partition(".")[2])
    data = whole.read_bytes()
    cut, noise = tmp_path / f"cut.{suffix}", tmp_path / f"noise.{suffix}"
    cut.write_bytes(data[: len(data) // 3])
    noise.write_bytes(b"no archive at all" * 100)
    assert slug_of(cut) == "broken_pictures"
    assert slug_of(noise) == "broken_pictures"


def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "faces.tar", {n: png(level) for n, level in FACES.items()}, "w")
    data = bytearray(path.read_bytes())
    data[data.index(b"s10/2.png")] ^= 0xFF
    path.write_bytes(bytes(data))
    assert slug_of(path) == "broken_pictures"


def test_a_damaged_member_of_a_zip_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, level in FACES.items():
            archive.writestr(name, png(level))
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT")
    data[at + 6] ^= 0xFF
    path.write_bytes(bytes(data))
    read = read_pictures(path, SMALL)
    assert read.names == tuple(FACES)[1:]
    assert "cannot be read" in read.skipped["s1/2.png"]
