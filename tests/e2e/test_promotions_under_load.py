"""Models are changed while clients enrol, verify and identify: nobody notices.

The full form, with its times, is in ``make soak``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.changing_service import Scale, changing_service
from tests.e2e.faults import left_over, orphans
from tests.e2e.load import (
    BACK,
    DECK,
    KEPT,
    PLAIN,
    Change,
    Request,
    Site,
    load,
    until,
    verify_everybody,
)
from tests.e2e.load_checks import Judge
from tests.e2e.scored_prints import ScoredPrints

pytestmark = pytest.mark.timeout(900)

SCALE = Scale(models=2, fingers=4, shown=2, narrow=True)
CLIENTS = 2


@dataclass(frozen=True)
class Run:
    """What was asked of a service while models were changed, and what it left."""

    site: Site
    early: list[Request]
    requests: list[Request]
    late: list[Request]
    left: list[str]

    @property
    def prints(self) -> ScoredPrints:
        return self.site.prints

    @property
    def judge(self) -> Judge:
        return Judge(self.prints, self.site.succession, self.early, self.requests)


def names(change: Change, request: Request) -> bool:
    """Whether a request that began under a model was answered under it."""
    return request.began_s >= change.seen_s and request.answer.get("model_id") == change.model_id


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder: Path = tmp_path_factory.mktemp("load")
    with changing_service(folder, SCALE) as (site, models):
        early = site.enrol_everybody()
        with load(site, CLIENTS) as requests:
            until(requests, lambda one: one.answer.get("model_id") == site.succession.first)
            for asked in (models[0], BACK, models[1]):
                change = site.change(asked)
                until(requests, partial(names, change))
            until(requests, lambda _: True, CLIENTS * len(DECK))
        enrolments = [*early, *(one for one in requests if one.operation == "enroll")]
        late = verify_everybody(site, enrolments, most=16)
        yield Run(site, early, requests, late, left_over(site.live.home) + orphans(site.live))


def test_every_answer_is_right_and_of_one_model(run: Run) -> None:
    judge = run.judge
    answered = (*run.early, *run.requests, *run.late)
    assert [what for one in answered for what in judge.complaints(one)] == []
    for operation in ("enroll", "verify", "identify"):
        assert {one.gallery for one in run.requests if one.operation == operation} == {KEPT, PLAIN}
    named = {one.answer["model_id"] for one in (*run.early, *run.requests)}
    assert named == {run.site.succession.first, *(c.model_id for c in run.site.succession.changes)}


def test_each_change_is_made_once_and_leaves_nothing(run: Run) -> None:
    done = run.site.done()
    assert done.count("model.promoted") == done.count("model.promotion_requested") == 3
    assert "model.refused" not in done
    assert done.count("template.upgraded") > 0
    assert run.left == []


def test_an_answer_across_models_would_be_seen(run: Run) -> None:
    """What is answered now is good, so the checks are tried on what must never be."""
    judge, prints = run.judge, run.prints
    match, other = next(
        (one, name)
        for one in run.requests
        if one.operation == "verify" and one.person == f"{KEPT}-{one.finger}"
        if one.answer["decision"] == "match"
        for name in sorted(prints.scores.keys() - run.site.succession.serving(one))
        if judge.complaints(replace(one, answer=one.answer | {"model_id": name}))[1:]
    )
    across = float(prints.strange[match.place, prints.enrolled(match.finger)])
    wrongs = ({"score": across}, {"model_id": None}, {"decision": "no_match"})
    for wrong in wrongs:
        assert judge.complaints(replace(match, answer=match.answer | wrong)), wrong
    named = judge.complaints(replace(match, answer=match.answer | {"model_id": other}))
    assert [what.split(":")[0] for what in named] == [
        "a model is named that did not serve",
        "the score is of no single model",
    ]
    assert judge.complaints(replace(match, status=503))
    assert judge.complaints(match) == []
