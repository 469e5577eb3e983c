"""Training on uploaded data sets, by the worker's own code: sealed images in, a model out."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest

from app.bootstrap.datasets import dataset_tools
from app.bootstrap.home import Home
from app.core.errors import InvalidInput, NotFound
from app.core.params import PreparationParams
from app.core.records import JobState, Person, StoredImage, Template
from app.learning import gathering
from app.learning.folders import LabelledSamples, split_subjects, without_subjects
from app.learning.known_subjects import KnownSubjects
from app.learning.mixed_pairs import MixedPairs, synthetic_count
from app.learning.own_prints import DatasetData
from app.learning.pairs import View
from app.learning.recipe_book import RECIPE_BOOK
from app.services.create_dataset import create_dataset
from app.services.datasets import delete_dataset, open_dataset
from app.services.job_files import JobFiles
from app.services.models import EVALUATION
from app.services.submit_training import SubmitTraining, TrainingFolders, submit_training
from app.services.training_spec import TrainingSpec
from app.settings import Settings
from app.worker import heartbeat
from tests.fakes.print_archives import drawn_prints, tar_bytes, zip_bytes
from tests.fakes.prints import print_png
from tests.fakes.recognition import ACTOR
from tests.fakes.training import TINY, grow_here, serve, stored, work

# A training compiles dozens of graphs; a busy machine takes its time over that.
pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("uncompiled")]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPE_BOOK, "tiny", TINY)
    monkeypatch.setattr(gathering, "grow_fingers", grow_here)
    monkeypatch.setattr(heartbeat, "PROGRESS_S", 0.01)


def order(home: Home, **changed: Any) -> str:
    spec = TrainingSpec(recipe="tiny", **changed)
    return submit_training(home.store, ACTOR, SubmitTraining(spec), TrainingFolders(())).id


def add(settings: Settings, home: Home, archive: bytes, dpi: float | None = None) -> str:
    path = settings.home / "upload"
    path.write_bytes(archive)
    return create_dataset(dataset_tools(settings, home), ACTOR, path, name="door", dpi=dpi).id


def read(home: Home, *ids: str) -> LabelledSamples:
    sets = [open_dataset(home.store, home.dataset_files, one) for one in ids]
    return DatasetData(sets).read(PreparationParams(dpi=125, size_px=96, block_px=8), None)


def test_a_model_learns_from_data_sets_with_synthetic_prints_mixed_in(
    settings: Settings, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)  # as a worker's, so that the job's log names the phases
    order(home, promote="if_better", steps=1)
    work(settings)
    champion = serve(home)

    first = add(settings, home, zip_bytes(drawn_prints(4)))
    second = add(settings, home, tar_bytes(drawn_prints(3, 3, None) | spare()), dpi=500.0)
    job_id = order(home, data="datasets", datasets=[first, second], synthetic_share=0.5, steps=2)
    work(settings)
    job = stored(home, job_id)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    assert job.result is not None
    manifest = home.registry.verify(job.result["model_id"])
    data = manifest.training["data"]
    assert manifest.parent == champion
    assert (data["kind"], data["datasets"]) == ("datasets", [first, second])
    # Seven fingers and a spare one: those of the second set are others than those of the first.
    assert (data["images"], data["fingers"]) == (8 + 9 + 2, 8)
    assert data["learned_fingers"] + data["held_out_fingers"] == 8
    assert data["synthetic_fingers"] == data["learned_fingers"]
    assert "site" in job.result["evaluations"]
    assert_labels_were_looked_at(settings, job_id)
    assert "training.png" in manifest.files
    assert not {"samples.png", "genuine-pairs.png", "impostor-pairs.png"} & set(manifest.files)
    assert data["learned_up_to"]["subject"] + data["learned_up_to"]["finger"] > 0

    judged_on = add(settings, home, zip_bytes(drawn_prints(4, first=20)))
    order_of = {"data": "datasets", "datasets": [first], "benchmark": [judged_on], "steps": 1}
    job_id = order(home, **order_of)
    work(settings)
    job = stored(home, job_id)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    assert job.result is not None
    data = home.registry.verify(job.result["model_id"]).training["data"]
    assert (data["learned_fingers"], data["held_out_fingers"]) == (4, 4)
    assert (data["benchmark"], data["learned_up_to"]["spared"]) == ([judged_on], [judged_on])
    assert "site" in job.result["evaluations"]
    delete_dataset(dataset_tools(settings, home), ACTOR, first)
    with pytest.raises(NotFound):
        order(home, data="datasets", datasets=[first])

    keep_samples(home)
    job_id = order(home, data="enrolled", minimum_quality=50, steps=1)
    work(settings)
    job = stored(home, job_id)
    assert (job.state, job.problem) == (JobState.SUCCEEDED, None)
    assert job.result is not None
    manifest = home.registry.verify(job.result["model_id"])
    data = manifest.training["data"]
    assert (data["kind"], data["images"], data["fingers"]) == ("enrolled", 10, 5)
    assert "samples.png" not in manifest.files
    assert "p0" not in json.dumps(manifest.model_dump(mode="json"))
    assert b"p0" not in home.registry.read(manifest.id, EVALUATION)
    assert_labels_were_looked_at(settings, job_id)


def assert_labels_were_looked_at(settings: Settings, job_id: str) -> None:
    """Whatever the source; what is found of them see ``test_poisoned_trainings``."""
    logged = JobFiles(settings.home).last_lines(job_id, 1000)
    phases = [line.split("phase: ")[1] for line in logged if "phase: " in line]
    assert phases.index("checking labels") < phases.index("training")


def keep_samples(home: Home) -> None:
    """Five persons who consent, two kept samples of each."""
    with home.store.write() as tx:
        for number in range(5):
            person = Person("default", f"p{number}", 1, consent_training=True)
            tx.persons.add(person)
            for capture in range(2):
                one = f"t{number}{capture}"
                facts = ("png", 260, 300, 500.0, "file", True, 2)
                tx.templates.add(
                    Template(one, "default", person.id, 2, 80, (), *facts),
                    StoredImage(one, print_png(number, capture), 500.0),
                )


def test_nobody_in_the_benchmark_is_learned_from(settings: Settings, home: Home) -> None:
    everybody = add(settings, home, zip_bytes(drawn_prints(8)))
    judged_on = add(settings, home, zip_bytes(drawn_prints(4)))
    known, others = read(home, everybody), read(home, judged_on)
    left = without_subjects(known, others)
    assert set(left.fingers) == set(known.fingers) - set(others.fingers)
    with pytest.raises(InvalidInput) as refused:
        without_subjects(others, known)
    assert refused.value.slug == "too_few_fingers"
    assert "other persons" in refused.value.detail
    with pytest.raises(NotFound):
        order(home, data="datasets", datasets=[everybody], benchmark=["0" * 26])


def spare() -> dict[str, bytes]:
    return {f"9_{capture}.png": print_png(9, capture, None) for capture in (1, 2)}


def test_fingers_of_two_sets_are_others_but_one_name_stays_on_one_side(
    settings: Settings, home: Home
) -> None:
    archive = zip_bytes(drawn_prints(8))
    first, second = add(settings, home, archive), add(settings, home, archive)
    alone, both = read(home, first), read(home, first, second)
    assert set(alone.fingers) == {str(number) for number in range(1, 9)}
    assert len(set(both.fingers)) == 16
    assert alone.subjects == read(home, second).subjects
    assert (set(both.names), set(alone.names)) == (set(alone.fingers), set(alone.fingers))
    assert KnownSubjects.of_split(both) == KnownSubjects.of_split(alone)
    assert len(KnownSubjects.of_split(alone).strangers(both)) == 0
    learned, held_out = split_subjects(both, 0.7)
    assert not set(learned.subjects) & set(held_out.subjects)
    assert set(learned.subjects) == set(split_subjects(alone, 0.7)[0].subjects)
    np.testing.assert_array_equal(both.samples[0].image, alone.samples[0].image)


ZEROS = np.zeros((2, 3), np.float32)


class Counted:
    """A source of pairs that remembers what was asked of it."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, list[object]()

    def __len__(self) -> int:
        return self.count

    def views(self, finger: int, rng: np.random.Generator) -> tuple[View, View]:
        self.asked.append(finger)
        view = View(ZEROS, ZEROS, ZEROS, (float(self.count), 0.0))
        return view, view

    def begin_epoch(self, epoch: int) -> None:
        self.asked.append(("epoch", epoch))

    def close(self) -> None:
        self.asked.append("closed")


def test_mixed_pairs_show_the_fingers_of_either_source() -> None:
    own, synthetic, rng = Counted(3), Counted(2), np.random.default_rng(0)
    mixed = MixedPairs(own, synthetic)
    mixed.begin_epoch(7)
    shown = [mixed.views(finger, rng)[0].core_px[0] for finger in range(len(mixed))]
    mixed.close()
    assert shown == [3, 3, 3, 2, 2]
    assert own.asked == [("epoch", 7), 0, 1, 2, "closed"]
    assert synthetic.asked == [("epoch", 7), 0, 1, "closed"]


@pytest.mark.parametrize(("own", "share", "count"), [(30, 0.0, 0), (30, 0.5, 30), (10, 0.9, 90)])
def test_the_share_of_synthetic_fingers(own: int, share: float, count: int) -> None:
    assert synthetic_count(own, share) == count
