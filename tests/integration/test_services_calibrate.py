"""What a model's scores mean at the site: measured, kept, applied, followed, taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.clock import new_id, now_ms
from app.core.errors import InvalidInput, LeaseLost, ModelRefused, NotFound
from app.core.params import MatchingParams
from app.core.ports import LoadedModel
from app.core.records import (
    CalibrationBasis,
    Drift,
    ImagePolicy,
    Job,
    JobState,
    Person,
    SiteCalibration,
)
from app.inference.live import LoadedModels
from app.matching.calibration import Calibration
from app.matching.score import compare_many, stack_references
from app.services import galleries, persons, site_calibrations
from app.services.calibrate_folder import PrintFolder, calibrate_folder
from app.services.calibrate_site import calibrate_gallery
from app.services.calibration_order import CalibrationOrder
from app.services.context import Recognition
from app.services.outcomes import OnDuplicate
from app.services.recognise import (
    SampleImage,
    embed_probe,
    prepare_capture,
)
from app.services.site_calibrations import calibrated, calibrating, follow_calibrations
from app.services.verify import VerifyRequest, verify
from tests.fakes.models import calibration, model
from tests.fakes.prints import blank_png, print_png
from tests.fakes.recognition import ACTOR, actions, enrol, opened

PERSONS = 26
KEPT, PLAIN = "vault", "default"
LENIENT = model("model-a", table=calibration(top=0.3))


def quiet(_: dict[str, Any]) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognition]:
    """Persons in a gallery that keeps images and in one that does not; two samples each."""
    with opened(tmp_path_factory.mktemp("site") / "whorl.db") as (ctx, _):
        galleries.put_gallery(ctx.store, ACTOR, KEPT, ImagePolicy.ENCRYPTED, None)
        for gallery in (KEPT, PLAIN):
            for person in range(PERSONS):
                seeds, allow = (person, person + 500), OnDuplicate.ALLOW
                enrol(ctx, f"p{person}", *seeds, gallery=gallery, on_duplicate=allow)
        yield ctx


@cache
def measured(
    ctx: Recognition, of: LoadedModel, gallery: str = KEPT, **order: Any
) -> SiteCalibration:
    return calibrate_gallery(ctx, of, CalibrationOrder(gallery, **order), quiet)


def kept(ctx: Recognition, of: LoadedModel | None = None, gallery: str = KEPT) -> SiteCalibration:
    """A calibration that was measured and kept."""
    made = replace(measured(ctx, of or model("model-a"), gallery), id=new_id())
    with ctx.store.write() as tx:
        site_calibrations.keep(tx, ACTOR, made)
    return made


def applied(ctx: Recognition, made: SiteCalibration, replaces: bool = False) -> None:
    with ctx.store.write() as tx:
        site_calibrations.apply(tx, ACTOR, made, replaces=replaces)


# --- measuring -----------------------------------------------------------------------------------


def test_every_two_persons_meet_once_as_a_verification_would_compare_them(
    site: Recognition,
) -> None:
    active = model("model-a")
    made = measured(site, active)
    assert (made.basis, made.left_out, made.gallery) == (CalibrationBasis.VERIFICATIONS, 0, KEPT)
    table = Calibration.from_dict(made.calibration)
    pairs = PERSONS * (PERSONS - 1) // 2
    assert (table.comparisons, table.independent_pairs, table.subjects) == (pairs, pairs, PERSONS)
    # Every threshold lies just above a score that a verification gives of somebody's sample.
    with site.store.read() as tx:
        known = tx.templates.comparable(KEPT, active.id)
        references = tx.templates.references([template.template_id for template in known])
        images = [tx.templates.image(template.template_id) for template in known]
    stored = stack_references([reference.descriptor for reference in references])
    given = []
    for image in images:
        assert image is not None
        sample = SampleImage(image.data, image.dpi, None, site.limits)
        probe = embed_probe(active, prepare_capture(sample, active.preparation).prepared)
        given.append(compare_many(probe, *stored, active.matching))
    for threshold in table.thresholds:
        assert np.abs(np.concatenate(given) - threshold).min() < 1e-6


def test_the_same_seed_measures_the_same(site: Recognition) -> None:
    order = CalibrationOrder(KEPT, seed=3)
    first, again = (calibrate_gallery(site, model("model-a"), order, quiet) for _ in range(2))
    other = measured(site, model("model-a"), seed=4)
    assert (first.calibration, first.checks) == (again.calibration, again.checks)
    assert first.calibration != other.calibration


def test_persons_are_drawn_where_there_are_more(site: Recognition) -> None:
    assert measured(site, model("model-a"), subjects=25).calibration["comparisons"] == 300


def test_progress_is_told_and_may_stop_the_work(site: Recognition) -> None:
    told: list[dict[str, Any]] = []
    calibrate_gallery(site, model("model-a"), CalibrationOrder(KEPT), told.append)
    assert [at["done"] for at in told if "done" in at] == list(range(1, PERSONS + 1))

    def stop(at: dict[str, Any]) -> None:
        if at.get("done") == 3:
            raise LeaseLost("another worker has it")

    with pytest.raises(LeaseLost):
        calibrate_gallery(site, model("model-a"), CalibrationOrder(KEPT), stop)


@pytest.mark.parametrize(
    ("top", "verdict"), [(0.3, Drift.WORSE), (0.665, Drift.NONE_SEEN), (0.99, Drift.BETTER)]
)
def test_the_verdict_says_how_the_promise_is_kept(
    site: Recognition, top: float, verdict: Drift
) -> None:
    made = measured(site, model("model-a", table=calibration(top=top)))
    table = Calibration.from_dict(made.calibration)
    assert [check["asked_fmr"] for check in made.checks] == [0.1, table.minimum_fmr]
    assert made.drift is verdict
    for check in made.checks:
        assert check["drift"] is verdict
        assert check["low_fmr"] <= check["met_fmr"] <= check["high_fmr"]
        assert check["met_fmr"] == check["matches"] / made.calibration["comparisons"]
        worse = check["site_threshold"] > check["promised_threshold"]
        assert worse or verdict is not Drift.WORSE


def test_a_rate_that_the_model_does_not_promise_is_measured_without_a_verdict(
    site: Recognition,
) -> None:
    weak = model("model-a", table=calibration(independent_pairs=100))
    made = measured(site, weak, fmrs=(0.1, 0.4))
    unknown, known = sorted(made.checks, key=lambda check: check["asked_fmr"])
    assert (unknown["promised_threshold"], unknown["drift"]) == (None, Drift.UNKNOWN)
    assert known["met_fmr"] is not None


def test_what_the_counts_do_not_support_is_refused(site: Recognition) -> None:
    with pytest.raises(InvalidInput) as caught:
        measured(site, model("model-a"), fmrs=(0.01,))
    assert caught.value.slug == "too_few_subjects"
    assert caught.value.context["subjects_wanted"] == 78
    with pytest.raises(InvalidInput) as caught:
        measured(site, model("unknown"))
    assert caught.value.context["subjects"] == 0
    with pytest.raises(NotFound):
        measured(site, model("model-a"), "nowhere")


def test_without_images_single_views_are_told_as_what_they_are(site: Recognition) -> None:
    single, whole = measured(site, LENIENT, PLAIN), measured(site, LENIENT)
    assert single.basis is CalibrationBasis.SINGLE_VIEWS
    assert single.drift is Drift.WORSE  # a bound from below that is too high already
    assert Calibration.from_dict(single.calibration).threshold(0.5) < (
        Calibration.from_dict(whole.calibration).threshold(0.5)
    )
    assert measured(site, model("model-a"), PLAIN).drift is Drift.UNKNOWN
    with pytest.raises(InvalidInput) as caught:
        measured(site, LENIENT, PLAIN, apply=True)
    assert caught.value.slug == "single_views_only"
    with site.store.write() as tx, pytest.raises(InvalidInput, match="bounds from below"):
        site_calibrations.apply(tx, ACTOR, single, replaces=False)


def test_a_model_of_one_view_needs_no_images(site: Recognition) -> None:
    plain = model("model-a", matching=MatchingParams((0.0,), 1, 6.0))
    assert measured(site, plain, PLAIN).basis is CalibrationBasis.VERIFICATIONS


def test_a_sample_that_cannot_be_used_leaves_its_person_out(site: Recognition) -> None:
    galleries.put_gallery(site.store, ACTOR, "damaged", ImagePolicy.ENCRYPTED, None)
    with site.store.write() as tx:
        for number in range(PERSONS):
            old = tx.templates.of_person(KEPT, f"p{number}")[0]
            (reference,) = tx.templates.references([old.id])
            image = tx.templates.image(old.id)
            assert image is not None
            copy = replace(old, id=f"copy-{number}", gallery="damaged")
            data = blank_png() if number == 3 else image.data
            tx.persons.add(Person("damaged", copy.person_id, 1))
            tx.templates.add(copy, replace(image, template_id=copy.id, data=data))
            tx.templates.add_descriptor(copy.id, "model-a", reference.descriptor)
    made = measured(site, model("model-a"), "damaged")
    assert (made.left_out, made.calibration["subjects"]) == (1, PERSONS - 1)
    persons.delete_person(site, ACTOR, "damaged", "p4")
    with pytest.raises(InvalidInput, match=r"24 persons .* it takes 25"):
        measured(site, model("model-a"), "damaged")


def test_a_folder_is_measured_one_image_a_person(site: Recognition, tmp_path: Path) -> None:
    for person in range(27):
        for capture in range(2):
            (tmp_path / f"{person + 1}_{capture + 1}.png").write_bytes(print_png(person, capture))
    (tmp_path / "27_1.png").write_bytes(blank_png())
    (tmp_path / "27_2.png").write_bytes(b"no image")
    made = calibrate_folder(
        site, model("model-a"), PrintFolder(tmp_path), CalibrationOrder(), quiet
    )
    assert (made.gallery, made.left_out, made.calibration["subjects"]) == (None, 1, 26)
    assert made.basis is CalibrationBasis.VERIFICATIONS
    order = CalibrationOrder(fmrs=(1e-4,))
    with pytest.raises(InvalidInput) as caught:
        calibrate_folder(site, model("model-a"), PrintFolder(tmp_path), order, quiet)
    assert caught.value.context["subjects_wanted"] == 776


# --- deciding ------------------------------------------------------------------------------------


def test_nothing_is_decided_by_it_until_somebody_says_so(site: Recognition) -> None:
    made = kept(site, LENIENT)
    with site.store.read() as tx:
        assert tx.calibrations.applied("model-a") is None
        assert tx.calibrations.newest("model-a") == made
        event = tx.audit.page(None, 1)[0]
    assert (event.action, event.subject) == ("calibration.made", "model-a")
    assert event.details["drift"] == "worse"
    assert not [value for value in event.details.values() if isinstance(value, float)]


def test_the_stricter_threshold_decides_and_the_model_keeps_what_it_promised(
    site: Recognition,
) -> None:
    made = measured(site, LENIENT)
    found = calibrated(LENIENT, replace(made, applied_ms=1))
    here = Calibration.from_dict(made.calibration)
    assert found.calibration.threshold(0.1) == here.threshold(0.1)
    assert found.calibration.threshold(0.1) > LENIENT.calibration.threshold(0.1)
    # Below the site's counts the model's own table goes on, never below the site's strictest.
    assert found.calibration.threshold(1e-4) == here.thresholds[-1]
    assert found.own_calibration == LENIENT.calibration
    assert calibrated(found, None) == LENIENT


def test_a_better_site_loosens_only_what_is_to_be_replaced(site: Recognition) -> None:
    strict = model("model-a", table=calibration(top=0.99))
    made = measured(site, strict)
    here = Calibration.from_dict(made.calibration)
    beside = calibrated(strict, replace(made, applied_ms=1))
    instead = calibrated(strict, replace(made, applied_ms=1, replaces=True))
    assert beside.calibration.threshold(0.1) == strict.calibration.threshold(0.1)
    assert instead.calibration.threshold(0.1) == here.threshold(0.1)
    assert instead.calibration.threshold(1e-4) == strict.calibration.threshold(1e-4)


def test_one_that_cannot_be_read_refuses_the_model(site: Recognition) -> None:
    broken = replace(measured(site, LENIENT), calibration={"fmr": []}, applied_ms=1)
    with pytest.raises(ModelRefused, match="whorl calibrate --remove"):
        calibrated(LENIENT, broken)


def test_models_in_memory_follow_the_store(site: Recognition) -> None:
    shelf = LoadedModels(calibrating(site.store, lambda name: replace(LENIENT, id=name)))
    active = shelf.get("model-a")
    shelf.activate(active)
    shelf.get("model-b")
    assert follow_calibrations(site.store, shelf) == []
    made = kept(site, LENIENT)
    applied(site, made)
    ctx = replace(site, models=shelf)
    claim = VerifyRequest(KEPT, print_png(1, 1), "p1", fmr=0.1, finger=1)
    before = verify(ctx, ACTOR, claim)
    assert follow_calibrations(site.store, shelf) == ["model-a"]
    assert follow_calibrations(site.store, shelf) == []
    after = verify(ctx, ACTOR, claim)
    assert after.threshold > before.threshold
    assert active.calibration == LENIENT.calibration  # who holds the old bundle finishes with it
    assert shelf.active() is shelf.get("model-a")
    # A model comes into memory with what belongs to it, whatever was active meanwhile.
    shelf.activate(shelf.get("model-b"))
    shelf.release({"model-b"})
    assert shelf.get("model-a").site_version == f"{made.id}/stricter"
    shelf.activate(active)  # a rollback by whoever holds the bundle of before
    assert shelf.active().calibration.threshold(0.1) > LENIENT.calibration.threshold(0.1)
    applied(site, made, replaces=True)
    assert follow_calibrations(site.store, shelf) == ["model-a"]
    assert site_calibrations.remove(site.store, ACTOR, "model-a")
    assert not site_calibrations.remove(site.store, ACTOR, "model-a")
    assert follow_calibrations(site.store, shelf) == ["model-a"]
    assert shelf.active().calibration == LENIENT.calibration
    assert actions(site.store)[-3:].count("calibration.removed") == 1


# --- the job's end -------------------------------------------------------------------------------


@pytest.fixture
def job(ctx: Recognition) -> Job:
    with ctx.store.write() as tx:
        tx.jobs.add(Job("j1", "calibrate", JobState.QUEUED, {}))
        claimed = tx.jobs.claim("w1", ["calibrate"], now_ms(), 60_000)
    assert claimed is not None
    return claimed


def ended(ctx: Recognition) -> Job:
    with ctx.store.read() as tx:
        found = tx.jobs.get("j1")
    assert found is not None
    return found


@pytest.mark.parametrize("applies", [False, True])
def test_a_job_ends_with_its_result_kept(
    ctx: Recognition, site: Recognition, job: Job, applies: bool
) -> None:
    made = measured(site, LENIENT)
    site_calibrations.conclude(ctx.store, ACTOR, job, made, applies=applies)
    done = ended(ctx)
    assert done.state is JobState.SUCCEEDED
    assert done.result is not None
    assert done.result["calibration_id"] == made.id
    assert done.result["applied"] is applies
    assert "threshold" not in str(done.result)
    with ctx.store.read() as tx:
        assert (tx.calibrations.applied("model-a") is not None) is applies


def test_a_job_cancelled_at_the_last_moment_keeps_nothing(
    ctx: Recognition, site: Recognition, job: Job
) -> None:
    with ctx.store.write() as tx:
        tx.jobs.request_cancel(job.id, now_ms())
    site_calibrations.conclude(ctx.store, ACTOR, job, measured(site, LENIENT), applies=True)
    assert ended(ctx).state is JobState.CANCELLED
    with ctx.store.read() as tx:
        assert tx.calibrations.newest("model-a") is None


def test_who_lost_the_job_applies_nothing(ctx: Recognition, site: Recognition, job: Job) -> None:
    with ctx.store.write() as tx:
        tx.jobs.claim("w2", ["calibrate"], now_ms() + 120_000, 1000)
    before = actions(ctx.store)
    with pytest.raises(LeaseLost):
        site_calibrations.conclude(ctx.store, ACTOR, job, measured(site, LENIENT), applies=True)
    assert actions(ctx.store) == before
    with ctx.store.read() as tx:
        assert tx.calibrations.newest("model-a") is None


def test_an_end_that_cannot_be_applied_keeps_nothing(
    ctx: Recognition, site: Recognition, job: Job
) -> None:
    single = measured(site, LENIENT, PLAIN)
    with pytest.raises(InvalidInput):
        site_calibrations.conclude(ctx.store, ACTOR, job, single, applies=True)
    assert ended(ctx).state is JobState.RUNNING
    with ctx.store.read() as tx:
        assert tx.calibrations.newest("model-a") is None


def test_scores_stay_out_of_what_is_recorded(site: Recognition) -> None:
    made = kept(site, LENIENT)
    applied(site, made)
    with site.store.read() as tx:
        events = [e for e in tx.audit.page(None, 5) if e.action.startswith("calibration.")]
    thresholds = np.asarray(made.calibration["thresholds"])
    for event in events:
        for value in event.details.values():
            assert not (isinstance(value, float) and np.isclose(thresholds, value).any())
