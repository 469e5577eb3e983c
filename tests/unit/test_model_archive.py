"""What may be in an archive of a model, and what is not even looked at."""

from __future__ import annotations

import gzip
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput, ModelRefused
from app.services.model_archive import MOST_FILES, unpack_model
from app.services.models import EVALUATION
from model_store import FileFacts, Manifest, ManifestDraft
from tests.fakes.gate import report_dict

FILES = {"encoder.safetensors": b"weights" * 50, "golden.npz": b"vectors", "training.png": b"png"}
MOST = 100_000


def manifest(files: Mapping[str, bytes] = FILES, **said: Any) -> Manifest:
    values: dict[str, Any] = {
        "architecture": {"name": "grid_encoder"},
        "preparation": {},
        "matching": {},
        "calibration": {"fmr": [0.1]},
        "metrics": {"synthetic": {"eer": 0.1, "genuine": 3, "impostor": 9}},
        "training": {"recipe": {"name": "default"}},
        "licence": "none",
        "created": "then",
    }
    draft = ManifestDraft(**(values | said))
    return Manifest.seal(draft, {name: FileFacts.of(data) for name, data in files.items()})


def packed(**said: Any) -> dict[str, bytes]:
    return {"manifest.json": manifest(**said).model_dump_json().encode(), **FILES}


def zipped(files: Mapping[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(data), "/etc/passwd"
            archive.addfile(entry, BytesIO(data))
    return buffer.getvalue()


def slug_of(archive: bytes, most_bytes: int = MOST) -> str:
    with pytest.raises((InvalidInput, ModelRefused)) as caught:
        unpack_model(archive, most_bytes)
    assert len(caught.value.detail) < 600
    return caught.value.slug


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("under", ["", "./"])
def test_a_model_comes_out_as_it_went_in(
    pack: Callable[[Mapping[str, bytes]], bytes], under: str
) -> None:
    found, files = unpack_model(pack({under + name: data for name, data in packed().items()}), MOST)
    assert found == manifest()
    assert files == FILES


def test_folders_in_an_archive_do_not_matter() -> None:
    assert unpack_model(zipped({"./": b"", **packed()}), MOST)[1] == FILES


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "/etc/evil.png",
        "sub/evil.png",
        "..\\evil.png",
        "evil.keras",
        "evil.h5",
        "evil.pkl",
        "evil.npy",
        "evil.json",
        ".hidden.png",
        "a\x00.png",
        "evil.png\n",
        "e" * 80 + ".png",
    ],
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_other_names_are_refused(pack: Callable[[Mapping[str, bytes]], bytes], name: str) -> None:
    assert slug_of(pack({**packed(), name: b"x"})) == "model_upload_broken"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"S"]
)
def test_a_tar_holds_plain_files(kind: bytes) -> None:
    assert slug_of(tarred({"link.png": b""}, kind)) == "model_upload_broken"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_names_nothing_twice_and_not_much() -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for _ in range(2):
            archive.writestr("golden.npz", b"x")
    assert slug_of(buffer.getvalue()) == "model_upload_broken"
    many = {f"{k}.png": b"" for k in range(MOST_FILES + 1)}
    assert slug_of(zipped(many)) == "model_upload_broken"


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no archive",
        b"PK\x05\x06" + bytes(18),
        zipped({}),
        tarred({}),
        zipped(FILES),
        gzip.compress(tarred(packed())),
        zipped(packed(), zipfile.ZIP_LZMA),
        zipped(packed(), zipfile.ZIP_BZIP2),
        zipped(packed())[:-40],
        tarred(packed())[:600],
        zipped(packed(), zipfile.ZIP_STORED).replace(b"weights", b"weighty"),
    ],
)
def test_what_is_no_archive_of_a_model_is_said(archive: bytes) -> None:
    assert slug_of(archive) == "model_upload_broken"


def test_an_encrypted_file_is_not_asked_for_its_password() -> None:
    data = bytearray(zipped(packed()))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert slug_of(bytes(data)) == "model_upload_broken"


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zipped({"golden.npz": bytes(50_000_000)})
    assert len(bomb) < MOST
    assert slug_of(bomb) == "model_too_large"
    several = {f"{k}.png": bytes(MOST // 2) for k in range(3)}
    assert slug_of(zipped(several)) == "model_too_large"


def test_a_file_larger_than_it_says_is_no_more_than_it_says() -> None:
    data = bytearray(zipped({"golden.npz": bytes(50_000_000)}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (1000).to_bytes(4, "little")
    assert slug_of(bytes(data)) == "model_upload_broken"


@pytest.mark.parametrize("changed", ["encoder.safetensors", "training.png"])
def test_files_are_those_of_the_manifest(changed: str) -> None:
    assert slug_of(zipped({**packed(), changed: b"other"})) == "model_file_changed"
    fewer = {name: data for name, data in packed().items() if name != changed}
    assert slug_of(zipped(fewer)) == "model_file_changed"
    assert slug_of(zipped({**packed(), "more.png": b"x"})) == "model_file_changed"


def test_a_manifest_that_was_changed_is_refused() -> None:
    said = json.loads(packed()["manifest.json"])
    said["calibration"] = {"fmr": [0.2]}
    assert slug_of(zipped({**packed(), "manifest.json": json.dumps(said).encode()})) == (
        "model_file_changed"
    )


@pytest.mark.parametrize(
    "said",
    [
        b"{}",
        b"[1]",
        b"not json",
        b"[" * 100_000,
        json.dumps({"id": "x" * 10_000}).encode(),
        packed()["manifest.json"].replace(b'"eer":0.1', b'"eer":NaN'),
    ],
)
def test_a_manifest_that_is_none_is_refused(said: bytes) -> None:
    slug = slug_of(zipped({**packed(), "manifest.json": said}), 1_000_000)
    assert slug in ("model_manifest_unusable", "model_file_changed")


@pytest.mark.parametrize(
    "said",
    [
        {"training": {"recipe": 5}},
        {"metrics": {"synthetic": 0.5}},
        {"metrics": {"synthetic": {"eer": "low", "genuine": 1, "impostor": 1}}},
    ],
)
def test_a_manifest_has_what_lists_of_models_show(said: dict[str, Any]) -> None:
    assert slug_of(zipped(packed(**said))) == "model_manifest_unusable"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_named_problem(tail: bytes) -> None:
    for head in (b"", zipped(packed())[:200], tarred(packed())[:512]):
        assert slug_of(head + tail) == "model_upload_broken"


def test_the_report_of_a_gate_comes_along_where_it_can_be_shown() -> None:
    report = json.dumps(report_dict()).encode()
    for content, wanted in (
        (report, None),
        (b"{}", "model_file_unreadable"),
        (b"[1]", "model_file_unreadable"),
        (report.replace(b'"runs": 11', b'"runs": "<b>"'), "model_file_unreadable"),
        (report.replace(b'"runs": 11', b'"runs": NaN'), "model_file_unreadable"),
    ):
        files = FILES | {EVALUATION: content}
        said = manifest(files).model_dump_json().encode()
        archive = zipped({"manifest.json": said, **files})
        if wanted is None:
            assert unpack_model(archive, MOST)[1] == files
        else:
            assert slug_of(archive) == wanted
