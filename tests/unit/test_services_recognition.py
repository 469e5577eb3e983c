from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import PolicyNotSupported
from app.core.params import MatchingParams
from app.core.types import PreparedSample
from app.imaging.decode import ImageLimits
from app.services.identifiers import is_gallery_id, is_person_id
from app.services.policy import (
    duplicate_threshold,
    strictest_fmr,
    supported_references,
    verification_threshold,
)
from app.services.recognise import (
    ProbeImage,
    SampleImage,
    embed_probe,
    embed_reference,
    embed_references_and_probes,
    prepare_capture,
)
from tests.fakes.models import FakeEmbedder, calibration, model
from tests.fakes.prints import print_png

TABLE = calibration()


def sample(seed: int) -> PreparedSample:
    image = SampleImage(print_png(seed), None, None, ImageLimits())
    return prepare_capture(image, model("m").preparation).prepared


@given(st.floats(TABLE.minimum_fmr, 0.4), st.integers(0, 20))
def test_references_never_loosen_the_threshold(fmr: float, references: int) -> None:
    most = supported_references(TABLE, fmr)
    assert most >= 1
    count = min(references, most)
    threshold = verification_threshold(TABLE, fmr, count)
    assert threshold == TABLE.threshold(fmr / max(count, 1))
    assert TABLE.threshold(fmr) <= threshold <= TABLE.threshold(TABLE.minimum_fmr)
    with pytest.raises(PolicyNotSupported):
        verification_threshold(TABLE, fmr * (1.0 - 1e-8), most + 1)


@given(st.integers(1, 1000))
def test_a_rate_of_so_many_smallest_ones_supports_as_many_references(count: int) -> None:
    assert supported_references(TABLE, count * TABLE.minimum_fmr) == count
    assert supported_references(TABLE, TABLE.minimum_fmr * 0.99) == 0
    assert supported_references(calibration(20), 0.5) == 0


@given(st.integers(0, 10_000))
def test_the_duplicate_check_tightens_with_the_gallery(searched: int) -> None:
    threshold = duplicate_threshold(TABLE, searched)
    assert TABLE.threshold(1e-4) <= threshold <= TABLE.threshold(TABLE.minimum_fmr)
    assert threshold <= duplicate_threshold(TABLE, searched + 1000)


def test_a_model_of_pictures_tells_duplicates_only_at_the_whole_rate() -> None:
    loose = calibration(4000)  # supports 0.75 %
    assert duplicate_threshold(loose, 1) == loose.threshold(loose.minimum_fmr)
    with pytest.raises(PolicyNotSupported):
        duplicate_threshold(loose, 1, of_pictures=True)
    assert duplicate_threshold(TABLE, 1, of_pictures=True) == duplicate_threshold(TABLE, 1)


def test_a_calibration_without_counts_supports_nothing() -> None:
    empty = calibration(20)
    assert strictest_fmr(TABLE) == 3e-5
    assert strictest_fmr(empty) == 1.0
    with pytest.raises(PolicyNotSupported):
        duplicate_threshold(empty, 1)


def test_a_probe_is_embedded_at_all_rotations_in_one_call() -> None:
    found = model("m")
    probe = embed_probe(found, sample(1))
    assert isinstance(found.embedder, FakeEmbedder)
    assert (found.embedder.calls, found.embedder.samples) == (1, 3)
    upright = embed_reference(found, sample(1))
    assert probe.cells.shape == (3, 6, 6, 8)
    assert np.array_equal(probe.cells[1], upright.cells)
    assert not np.array_equal(probe.cells[0], upright.cells)


@pytest.mark.parametrize("rotations", [(-10.0, 0.0, 10.0), (0.0, 5.0), (0.0,)])
def test_enrolment_embeds_references_and_probes_together(rotations: tuple[float, ...]) -> None:
    found = model("m", matching=MatchingParams(rotations_deg=rotations))
    samples = [sample(1), sample(2)]
    references, probes = embed_references_and_probes(found, samples)
    assert isinstance(found.embedder, FakeEmbedder)
    assert found.embedder.calls == 1
    for one, reference, probe in zip(samples, references, probes, strict=True):
        assert np.array_equal(reference.cells, embed_reference(found, one).cells)
        alone = embed_probe(found, one)
        assert len(probe.cells) == len(rotations)
        assert {cells.tobytes() for cells in probe.cells} == {c.tobytes() for c in alone.cells}


def test_a_probe_is_prepared_and_embedded_once_for_each_need() -> None:
    first, second = model("first"), model("second")
    probe = ProbeImage(SampleImage(print_png(1), None, None, ImageLimits()))
    assert probe.capture(first) is probe.capture(second)
    assert probe.under(first) is probe.under(first)
    assert not np.array_equal(probe.under(first).cells, probe.under(second).cells)
    assert isinstance(first.embedder, FakeEmbedder)
    assert first.embedder.calls == 1


def test_a_model_that_prepares_otherwise_gets_its_own_capture() -> None:
    plain, fine = model("plain"), model("fine", block_px=12)
    probe = ProbeImage(SampleImage(print_png(1), None, None, ImageLimits()))
    assert not np.array_equal(
        probe.capture(plain).prepared.image, probe.capture(fine).prepared.image
    )


@given(st.text(max_size=140))
def test_ids_hold_nothing_but_plain_characters(text: str) -> None:
    plain = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@:-")
    assert is_person_id(text) == (
        1 <= len(text) <= 128 and set(text) <= plain and text[0] not in "._@:-"
    )
    assert not is_gallery_id(text) or text == text.lower()


def test_ids_of_the_greatest_length_are_taken() -> None:
    assert is_person_id("a" * 128)
    assert is_person_id("ada@example.org:1")
    assert is_gallery_id("a" * 63)
    assert not is_gallery_id("a" * 64)
    assert not is_gallery_id("a.b")
