"""Calibrations of the site: of each model the newest and the applied one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.core.errors import NotFound
from app.core.ports import Store
from app.core.records import CalibrationBasis, ComparableTemplate, Drift, SiteCalibration

if TYPE_CHECKING:
    from tests.contract.conftest import Make


def made(name: str, model_id: str = "m1", made_ms: int = 1) -> SiteCalibration:
    return SiteCalibration(
        id=name,
        model_id=model_id,
        gallery="default",
        basis=CalibrationBasis.VERIFICATIONS,
        made_ms=made_ms,
        seed=2**32 - 1,
        left_out=2,
        calibration={"comparisons": 300, "fmr": [0.5, 0.1], "thresholds": [0.25, 0.5]},
        checks=[{"asked_fmr": 0.1, "met_fmr": None}],
        drift=Drift.WORSE,
    )


def add(store: Store, *calibrations: SiteCalibration) -> None:
    with store.write() as tx:
        for one in calibrations:
            tx.calibrations.add(one)


def apply(store: Store, name: str, replaces: bool = False) -> None:
    with store.write() as tx:
        tx.calibrations.apply(name, 7, replaces=replaces)


def kept(store: Store, model_id: str = "m1") -> tuple[SiteCalibration | None, ...]:
    """The newest and the applied one."""
    with store.read() as tx:
        return tx.calibrations.newest(model_id), tx.calibrations.applied(model_id)


def test_what_was_measured_comes_back_and_is_not_applied(store: Store) -> None:
    add(store, made("c1"), replace(made("c2", "m2"), gallery=None))
    assert kept(store) == (made("c1"), None)
    assert kept(store, "m2") == (replace(made("c2", "m2"), gallery=None), None)
    assert kept(store, "m3") == (None, None)
    with store.read() as tx:
        assert tx.calibrations.versions() == {}


def test_a_new_one_takes_the_place_of_one_that_is_not_applied(store: Store) -> None:
    add(store, made("c1"), made("c2", made_ms=2))
    assert kept(store) == (made("c2", made_ms=2), None)
    with pytest.raises(NotFound) as caught:
        apply(store, "c1")
    assert caught.value.slug == "calibration_not_found"


def test_the_applied_one_stays_beside_the_newest(store: Store) -> None:
    add(store, made("c1"))
    apply(store, "c1")
    add(store, made("c2", made_ms=2), made("c3", made_ms=3))
    applied = replace(made("c1"), applied_ms=7)
    assert kept(store) == (made("c3", made_ms=3), applied)
    with store.read() as tx:
        assert tx.calibrations.versions() == {"m1": applied.version}


def test_one_of_a_model_is_applied_at_most(store: Store) -> None:
    add(store, made("c1"), made("d1", "m2"))
    apply(store, "c1")
    apply(store, "d1")
    add(store, made("c2", made_ms=2))
    apply(store, "c2", replaces=True)
    second = replace(made("c2", made_ms=2), applied_ms=7, replaces=True)
    assert kept(store) == (second, second)
    with store.read() as tx:
        versions = tx.calibrations.versions()
    assert versions == {"m1": second.version, "m2": made("d1").version}
    assert second.version != made("c2").version


def test_what_is_withdrawn_decides_no_more_but_is_still_known(store: Store) -> None:
    add(store, made("c1"))
    apply(store, "c1", replaces=True)
    with store.write() as tx:
        assert tx.calibrations.withdraw("m1")
        assert not tx.calibrations.withdraw("m1")
        assert not tx.calibrations.withdraw("m2")
    assert kept(store) == (made("c1"), None)
    apply(store, "c1")
    add(store, made("c2", made_ms=2))
    with store.write() as tx:
        tx.calibrations.withdraw("m1")
    assert kept(store) == (made("c2", made_ms=2), None)


def test_single_views_are_never_applied(store: Store) -> None:
    add(store, replace(made("c1"), basis=CalibrationBasis.SINGLE_VIEWS))
    with pytest.raises(Exception, match="CHECK"):
        apply(store, "c1")
    assert kept(store)[1] is None


def test_templates_under_a_model_are_listed_by_person(store: Store, make: Make) -> None:
    with store.write() as tx:
        tx.galleries.put(replace(tx.galleries.list()[0], id="other"))
    make.enrolled(store, "bea", "t3", "t1", models=("m1", "m2"))
    make.enrolled(store, "anna", "t4", image=b"ridges")
    make.enrolled(store, "cleo", "t5", models=("m2",))
    make.enrolled(store, "anna", "t6", gallery="other")
    with store.read() as tx:
        found = tx.templates.comparable("default", "m1")
        assert tx.templates.comparable("default", "m3") == []
    assert found == [
        ComparableTemplate("anna", "t4", True),
        ComparableTemplate("bea", "t1", False),
        ComparableTemplate("bea", "t3", False),
    ]
