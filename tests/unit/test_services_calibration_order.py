"""What may be ordered of a calibration, and how many persons it takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.core.errors import InvalidInput
from app.services.calibration_order import CalibrationOrder


def refusal(order: CalibrationOrder, persons: int) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        order.require(persons)
    assert caught.value.slug == "too_few_subjects"
    return caught.value


def test_an_order_travels_as_json() -> None:
    order = CalibrationOrder("site", True, (0.1, 0.01), 300, 7)
    assert CalibrationOrder.from_dict(json.loads(json.dumps(order.to_dict()))) == order
    assert CalibrationOrder.from_dict({}) == CalibrationOrder()


@pytest.mark.parametrize(
    "data",
    [
        {"fmrs": [0.0]},
        {"fmrs": [9e-6]},
        {"fmrs": [1.0]},
        {"fmrs": [float("nan")]},
        {"subjects": 24},
        {"subjects": 5001},
        {"seed": -1},
        {"persons": 3},
    ],
)
def test_what_cannot_be_done_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        CalibrationOrder.from_dict(data)


def test_too_few_persons_are_told_how_many_it_takes() -> None:
    problem = refusal(CalibrationOrder(), 24)
    assert "24 persons" in problem.detail
    assert "it takes 25" in problem.detail
    CalibrationOrder().require(25)


def test_a_rate_that_the_counts_do_not_support_is_refused() -> None:
    order = CalibrationOrder(fmrs=(0.1, 0.01))
    problem = refusal(order, 77)
    assert problem.context["subjects_wanted"] == 78
    assert problem.context["minimum_fmr"] == pytest.approx(30 / (77 * 76 / 2))
    assert "0.01 was asked" in problem.detail
    order.require(78)


def test_persons_that_are_there_but_not_compared_are_asked_for() -> None:
    problem = refusal(CalibrationOrder(fmrs=(0.01,), subjects=50), 1000)
    assert "it takes 78 persons; raise subjects" in problem.detail


def test_nobody_is_too_few() -> None:
    assert refusal(CalibrationOrder(), 0).context["minimum_fmr"] == 1.0
