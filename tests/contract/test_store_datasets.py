"""Records of data sets in the store, and their sealed images beside it."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.core.datasets import Dataset, DatasetFiles, DatasetImage
from app.core.errors import Conflict, NotFound, Overloaded, WhorlError
from app.core.ports import Store
from app.core.records import JobState
from app.storage import SealedDatasetFiles, Vault
from app.storage.dataset_files import MOST_AT_A_TIME

if TYPE_CHECKING:
    from tests.contract.conftest import Make

KEY = bytes(range(60))
IMAGES = {
    "a/1_1.png": b"first",
    "a/1_2.png": b"",
    "b/anna_1.png": bytes(range(256)) * 500,
}


def dataset(dataset_id: str = "d1", **changed: object) -> Dataset:
    made = Dataset(
        dataset_id,
        "door",
        5,
        subjects=2,
        fingers=3,
        samples=9,
        bytes=12_345_678_901,
        dpi=508.0,
        pattern=r"(?P<finger>\d+)",
        report={"files": 9, "skipped": []},
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def image(name: str) -> DatasetImage:
    return DatasetImage(name, {"finger": "1", "subject": "anna", "impression": "é"})


# --- records -------------------------------------------------------------------------------------


def test_a_data_set_comes_back_as_it_went_in(store: Store) -> None:
    other = dataset("d2", dpi=None, pattern=None)
    with store.write() as tx:
        tx.datasets.add(dataset(), KEY)
        tx.datasets.add(other, bytes(60))
    with store.read() as tx:
        assert tx.datasets.get("d1") == dataset()
        assert tx.datasets.get("d2") == other
        assert tx.datasets.get("d3") is None
        assert (tx.datasets.key("d1"), tx.datasets.key("d2")) == (KEY, bytes(60))
        with pytest.raises(NotFound):
            tx.datasets.key("d3")
    with store.write() as tx, pytest.raises(Conflict):
        tx.datasets.add(dataset(), KEY)


def test_data_sets_are_paged_newest_first(store: Store) -> None:
    with store.write() as tx:
        for number in (2, 1, 3):
            tx.datasets.add(dataset(f"d{number}"), KEY)
    with store.read() as tx:
        assert [one.id for one in tx.datasets.page(None, 2)] == ["d3", "d2"]
        assert [one.id for one in tx.datasets.page("d2", 2)] == ["d1"]
        assert tx.datasets.ids() == ["d1", "d2", "d3"]


def test_the_key_goes_with_the_record(store: Store, tmp_path: Path) -> None:
    with store.write() as tx:
        tx.datasets.add(dataset(), KEY)
        tx.datasets.add(dataset("d2"), bytes(60))
    with store.write() as tx:
        assert tx.datasets.delete("d1")
        assert not tx.datasets.delete("d1")
        assert tx.datasets.ids() == ["d2"]
        with pytest.raises(NotFound):
            tx.datasets.key("d1")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(KEY not in path.read_bytes() for path in files)


def test_jobs_that_have_not_ended(store: Store, make: Make) -> None:
    states = list(JobState)
    with store.write() as tx:
        for number, state in enumerate(states):
            lease = 10 if state in (JobState.RUNNING, JobState.CANCELLING) else None
            tx.jobs.add(make.job(f"j{number}", state=state, lease_until_ms=lease))
        found = [job.state for job in tx.jobs.unfinished()]
    assert found == [JobState.RUNNING, JobState.CANCELLING, JobState.QUEUED]


# --- files ---------------------------------------------------------------------------------------

OPENERS: dict[str, Callable[[Path], DatasetFiles]] = {
    "sealed": lambda folder: SealedDatasetFiles(folder / "datasets", Vault(bytes(32))),
}


@pytest.fixture(params=sorted(OPENERS))
def files(request: pytest.FixtureRequest, tmp_path: Path) -> DatasetFiles:
    return OPENERS[str(request.param)](tmp_path)


def kept(files: DatasetFiles, dataset_id: str = "d1") -> bytes:
    with files.draft(dataset_id) as draft:
        for name, data in IMAGES.items():
            draft.add(image(name), data)
        draft.keep()
        return draft.wrapped_key


def on_disk(folder: Path) -> set[str]:
    lying = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return lying - {"datasets/.lock"}


def test_images_come_back_as_they_went_in(files: DatasetFiles) -> None:
    found = files.open("d1", kept(files))
    assert list(found.images) == [image(name) for name in IMAGES]
    assert [found.read(number) for number in (2, 0, 1)] == [
        list(IMAGES.values())[number] for number in (2, 0, 1)
    ]


def test_nothing_can_be_read_from_the_disk(files: DatasetFiles, tmp_path: Path) -> None:
    kept(files)
    for path in (tmp_path / "datasets").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
        assert path.is_dir() or not any(
            words in path.read_bytes() for words in (b"anna", bytes(range(64)), b"first")
        )


def test_the_key_of_another_data_set_opens_nothing(files: DatasetFiles) -> None:
    first, second = kept(files), kept(files, "d2")
    with pytest.raises(WhorlError):
        files.open("d1", second)
    assert files.open("d1", first).images


def test_images_that_were_changed_are_not_given_out(files: DatasetFiles, tmp_path: Path) -> None:
    found = files.open("d1", kept(files))
    path = tmp_path / "datasets" / "d1" / "images"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert found.read(0) == b"first"
    with pytest.raises(WhorlError) as caught:
        found.read(2)
    assert caught.value.slug == "store_damaged"


def test_images_that_are_gone(files: DatasetFiles) -> None:
    key = kept(files)
    files.delete("d1")
    files.delete("d1")
    with pytest.raises(WhorlError) as caught:
        files.open("d1", key)
    assert caught.value.slug == "store_damaged"


@pytest.mark.parametrize("before_it_is_kept", [True, False])
def test_a_draft_that_fails_leaves_nothing(
    files: DatasetFiles, tmp_path: Path, before_it_is_kept: bool
) -> None:
    with suppress(RuntimeError), files.draft("d1") as draft:
        draft.add(image("x"), b"x")
        if before_it_is_kept:
            raise RuntimeError
        draft.keep()
        raise RuntimeError
    assert on_disk(tmp_path) == set()


def test_what_is_received_is_gone_afterwards(files: DatasetFiles, tmp_path: Path) -> None:
    with suppress(RuntimeError), files.receiving() as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.write_bytes(b"an archive")
        raise RuntimeError
    assert on_disk(tmp_path) == set()


def test_only_so_many_uploads_at_a_time(files: DatasetFiles) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_AT_A_TIME):
            stack.enter_context(files.receiving())
        with pytest.raises(Overloaded) as caught:
            stack.enter_context(files.receiving())
        assert caught.value.slug == "uploads_busy"
    with files.receiving():
        pass


def test_a_full_disk_has_its_name(files: DatasetFiles, tmp_path: Path) -> None:
    with pytest.raises(WhorlError) as caught, files.receiving():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.slug == "store_full"
    with pytest.raises(WhorlError) as caught, files.draft("d1"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.slug == "store_full"
    assert on_disk(tmp_path) == set()


def test_what_was_cut_off_is_swept(files: DatasetFiles, tmp_path: Path) -> None:
    assert files.sweep(list) == 0
    kept(files)
    kept(files, "orphan")
    incoming = tmp_path / "datasets" / ".incoming"
    (incoming / "f00d").write_bytes(b"half an archive")
    (incoming / "d9").mkdir()
    (incoming / "d9" / "images").write_bytes(b"half a set")
    assert files.sweep(lambda: ["d1"]) == 3
    assert on_disk(tmp_path) == {"datasets/d1/images", "datasets/d1/index"}
    assert files.sweep(lambda: ["d1"]) == 0


def test_nothing_is_swept_while_somebody_writes(files: DatasetFiles, tmp_path: Path) -> None:
    with files.draft("d1") as draft:
        draft.add(image("x"), b"x")
        draft.keep()
        assert files.sweep(list) == 0
    assert (tmp_path / "datasets" / "d1").is_dir()
    with files.receiving() as path:
        assert files.sweep(list) == 0
        assert path.exists()
    assert files.sweep(list) == 1
