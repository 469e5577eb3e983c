"""A model on its way in: from the bytes of an archive to its files, nothing of it believed.

Zip or plain tar, flat. A compressed tar is not taken: how large one becomes, headers included, is
known only once it is unpacked, and weights hardly shrink.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO

from pydantic import ValidationError

from app.core.errors import InvalidInput, ModelRefused
from app.core.json_ready import read_json_object
from app.evaluation.gate_page import gate_page
from app.services.models import EVALUATION
from model_store import BrokenModelError, FileFacts, Manifest

MANIFEST = "manifest.json"
MOST_FILES = 32
MOST_MANIFEST_BYTES = 4_000_000
MOST_REPORT_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.(safetensors|npz|png)")
_TEXTS = (MANIFEST, EVALUATION)
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FIGURES = ("eer", "genuine", "impostor")

_Entry = tuple[str, int, Callable[[], bytes]]
"""A file's name, the size that is declared, and what reads no more than that."""


def unpack_model(archive: bytes, most_bytes: int) -> tuple[Manifest, dict[str, bytes]]:
    """A model's manifest and its other files, each of the size and hash that the manifest says.

    Args:
        archive: zip or uncompressed tar of `manifest.json` and the files that it names.
        most_bytes: of all files together, unpacked.

    Raises:
        InvalidInput: it is no such archive (``model_upload_broken``) or holds too much
            (``model_too_large``).
        ModelRefused: the manifest cannot be used, or the files are not those that it names.
    """
    files: dict[str, bytes] = {}
    try:
        entries = _of_zip if zipfile.is_zipfile(BytesIO(archive)) else _of_tar
        left = most_bytes
        for name, size, read in entries(archive):
            _require_usable(name, files)
            left -= size
            if left < 0:
                raise InvalidInput(
                    f"the model's files have more than {most_bytes} bytes", slug="model_too_large"
                )
            files[name] = read()
    except InvalidInput:
        raise
    except Exception as error:  # what the readers of zip and tar raise is not written down
        raise _broken(f"it cannot be unpacked: {error}") from error
    manifest = _read_manifest(files.pop(MANIFEST, b""))
    _require_files(manifest, files)
    if EVALUATION in files:
        _require_readable(files[EVALUATION], manifest.id)
    return manifest, files


def _of_zip(archive: bytes) -> Iterator[_Entry]:
    with zipfile.ZipFile(BytesIO(archive)) as packed:
        for entry in packed.infolist():
            if entry.compress_type not in _PACKINGS or entry.flag_bits & 1:
                raise _broken("a file in it is encrypted or packed in an unusual way")
            if not entry.is_dir():
                name = entry.filename.removeprefix("./")
                yield name, entry.file_size, partial(packed.read, entry)


def _of_tar(archive: bytes) -> Iterator[_Entry]:
    with tarfile.open(fileobj=BytesIO(archive), mode="r:") as packed:
        for entry in packed:
            if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
                raise _broken("it holds a link or something else that is no plain file")
            if not entry.isdir():
                name = entry.name.removeprefix("./")
                yield name, entry.size, partial(_content, packed, entry)


def _content(packed: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = packed.extractfile(entry)
    return b"" if file is None else file.read()


def _require_usable(name: str, so_far: dict[str, bytes]) -> None:
    if name not in _TEXTS and not _NAME.fullmatch(name):
        raise _broken(
            f"{name[:80]!r} is neither {MANIFEST} nor a file of a model; those lie beside it and "
            f"end in .safetensors, .npz or .png, or are {EVALUATION}"
        )
    if name in so_far or len(so_far) == MOST_FILES:
        raise _broken(f"it holds {name!r} twice, or more than {MOST_FILES} files")


def _read_manifest(said: bytes) -> Manifest:
    if not 0 < len(said) <= MOST_MANIFEST_BYTES:
        raise _broken(f"it has no {MANIFEST} of at most {MOST_MANIFEST_BYTES} bytes")
    try:
        manifest = Manifest.model_validate_json(said)
        manifest.check_id()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise _unusable(f"{where[:80]}: {first['msg']}") from None
    except BrokenModelError as error:
        raise ModelRefused(str(error), slug="model_file_changed") from error
    _require_figures(manifest)
    return manifest


def _require_figures(manifest: Manifest) -> None:
    """What lists of models show must be there, or one upload would spoil them."""
    if not isinstance(manifest.training.get("recipe", {}), dict):
        raise _unusable("training.recipe must be an object")
    for found in manifest.metrics.values():
        figures = [found.get(name) for name in _FIGURES] if isinstance(found, dict) else [None]
        if not all(isinstance(figure, int | float) for figure in figures):
            raise _unusable(f"every entry of metrics has the numbers {', '.join(_FIGURES)}")


def _require_files(manifest: Manifest, files: dict[str, bytes]) -> None:
    found = {name: FileFacts.of(data) for name, data in files.items()}
    wrong = sorted(
        name
        for name in found.keys() | manifest.files.keys()
        if found.get(name) != manifest.files.get(name)
    )
    if wrong:
        raise ModelRefused(
            f"missing, or not as the manifest of {manifest.id} says: {', '.join(wrong[:5])[:400]}",
            slug="model_file_changed",
        )


def _require_readable(report: bytes, model_id: str) -> None:
    """What cannot be shown as a page would fail whoever looks at it later.

    Nor may it be much to draw: a page is drawn here, and for whoever looks at it.
    """
    if len(report) > MOST_REPORT_BYTES:
        raise ModelRefused(
            f"{EVALUATION} of {model_id} has more than {MOST_REPORT_BYTES} bytes",
            slug="model_file_unreadable",
        )
    try:
        gate_page(read_json_object(report), model_id)
    except Exception as error:  # it may lack anything, or be anything else
        raise ModelRefused(
            f"{EVALUATION} of {model_id} is no report of a gate: {error!r:.200}",
            slug="model_file_unreadable",
        ) from error


def _broken(detail: str) -> InvalidInput:
    return InvalidInput(
        f"the upload is no model: {detail}. Send a zip or uncompressed tar of a model's folder.",
        slug="model_upload_broken",
    )


def _unusable(detail: str) -> ModelRefused:
    return ModelRefused(f"the manifest cannot be used: {detail}", slug="model_manifest_unusable")
