"""What decides where a site has measured scores itself: never looser unasked, always one table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import PolicyNotSupported
from app.matching.calibration import Calibration, calibrate, subjects_wanted
from app.matching.in_force import replaced, stricter


def table(pairs: int, shift: float, seed: int = 1) -> Calibration:
    scores = np.random.default_rng(seed).normal(0.2 + shift, 0.1, pairs).astype(np.float32)
    return calibrate(scores, pairs, 50)


TABLES = st.builds(table, st.integers(100, 20_000), st.floats(-0.3, 0.3), st.integers(0, 1000))
RATES = st.floats(1e-4, 0.5)


@given(TABLES, TABLES, RATES)
@settings(max_examples=60)
def test_the_stricter_loosens_nothing(promised: Calibration, site: Calibration, fmr: float) -> None:
    both = stricter(promised, site)
    fmr = max(fmr, both.minimum_fmr)
    for one in (promised, site):
        if fmr >= one.minimum_fmr:
            assert both.threshold(fmr) >= one.threshold(fmr)
    assert both.minimum_fmr == min(promised.minimum_fmr, site.minimum_fmr)


@given(TABLES, TABLES, RATES)
@settings(max_examples=60)
def test_what_replaces_is_the_site_where_its_counts_carry_it(
    promised: Calibration, site: Calibration, fmr: float
) -> None:
    both = replaced(promised, site)
    fmr = max(fmr, both.minimum_fmr)
    found = both.threshold(fmr)
    if fmr >= site.minimum_fmr:
        # Between two rates of the table the next lower one counts, and it may be the promise's.
        below = max(rate for rate in both.fmr if rate <= fmr * (1 + 1e-9))
        assert found == site.threshold(max(below, site.minimum_fmr)) >= site.threshold(fmr)
    else:
        assert found >= max(promised.threshold(fmr), site.thresholds[-1])


def test_a_rate_that_neither_supports_is_refused() -> None:
    both = stricter(table(1000, 0.0), table(500, 0.0))
    with pytest.raises(PolicyNotSupported):
        both.threshold(0.029)
    assert both.threshold(0.03) >= table(1000, 0.0).threshold(0.03)


def test_a_site_that_supports_nothing_changes_nothing() -> None:
    promised = table(1000, 0.0)
    assert stricter(promised, table(20, 0.3)) == replaced(promised, table(20, 0.3)) == promised


def test_the_site_may_support_rates_that_the_promise_does_not() -> None:
    promised, site = table(1000, 0.2), table(10_000, 0.0)
    both = stricter(promised, site)
    assert both.minimum_fmr == pytest.approx(0.003)
    assert both.threshold(0.003) == promised.thresholds[-1]
    assert replaced(promised, site).threshold(0.003) == site.threshold(0.003)


@given(st.floats(1e-6, 0.4))
def test_so_many_persons_are_wanted_and_no_more(fmr: float) -> None:
    wanted = subjects_wanted(fmr)
    assert wanted * (wanted - 1) / 2 * fmr >= 30 * (1 - 1e-6)
    assert (wanted - 1) * (wanted - 2) / 2 * fmr < 30


def test_the_default_rate_takes_some_eight_hundred_persons() -> None:
    assert (subjects_wanted(1e-4), subjects_wanted(0.1)) == (776, 25)
