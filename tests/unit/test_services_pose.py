"""Recognition under a model that finds poses: services are none the wiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.core.pose import Pose
from app.core.types import PreparedSample
from app.imaging.decode import ImageLimits
from app.imaging.normalise import search_views, upright
from app.services.recognise import (
    SampleImage,
    embed_probe,
    embed_reference,
    embed_references_and_probes,
    prepare_capture,
)
from tests.fakes.models import MATCHING, model
from tests.fakes.prints import print_png

PLAIN = model("m")


class Poses:
    """Finds for each sample what it is told to, by the sum of its pixels."""

    def __init__(self, poses: dict[float, Pose]) -> None:
        self.poses = poses

    def find(self, samples: Sequence[PreparedSample]) -> list[Pose]:
        return [self.poses[float(sample.image.sum())] for sample in samples]


def sample(seed: int) -> PreparedSample:
    image = SampleImage(print_png(seed), None, None, ImageLimits())
    return prepare_capture(image, PLAIN.preparation).prepared


def test_references_and_probes_are_embedded_upright() -> None:
    samples = [sample(1), sample(2)]
    poses = [Pose(25.0, (6.0, -9.0)), Pose(-40.0, (0.0, 3.0))]
    finder = Poses({float(s.image.sum()): p for s, p in zip(samples, poses, strict=True)})
    posed = replace(PLAIN, pose=finder)
    references, probes = embed_references_and_probes(posed, samples)
    for one, pose, reference, probe in zip(samples, poses, references, probes, strict=True):
        (wanted,) = PLAIN.embedder.embed(upright(one, pose, (0.0,)))
        assert np.array_equal(reference.cells, wanted.cells)
        assert np.array_equal(embed_reference(posed, one).cells, wanted.cells)
        seen = PLAIN.embedder.embed(search_views(one, pose, MATCHING))
        for found in (probe, embed_probe(posed, one)):
            assert np.array_equal(found.cells, np.stack([view.cells for view in seen]))


def test_a_model_without_a_pose_network_takes_samples_as_they_lie() -> None:
    (wanted,) = PLAIN.embedder.embed([sample(1)])
    assert np.array_equal(embed_reference(PLAIN, sample(1)).cells, wanted.cells)
    assert PLAIN.poses([sample(1)]) == [Pose()]
