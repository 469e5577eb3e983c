"""The gate's report: as data that can be kept, as a page that loads nothing."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from typing import Any

import numpy as np

from app.evaluation.det_points import det_points
from app.evaluation.gate_page import gate_page
from app.evaluation.protocol import all_pairs
from app.evaluation.rates import error_curve, fnmr_at_fmr, pair_scores
from tests.fakes.gate import report_dict, scored

MODEL = "fedcba9876543210"


def test_a_kept_curve_is_the_curve_at_its_points() -> None:
    found = scored(3.0)
    curve = error_curve(pair_scores(found.scores, all_pairs(found.fingers)))
    points = det_points(found)
    assert 60 < len(points) < 120
    assert [fmr for fmr, _ in points] == sorted(fmr for fmr, _ in points)
    assert points[-1] == (1.0, 0.0)
    for fmr, fnmr in points:
        assert fnmr == fnmr_at_fmr(curve, fmr * (1 + 1e-9))


def test_the_report_is_json_with_all_a_verdict_rests_on() -> None:
    report = json.loads(json.dumps(report_dict(), allow_nan=False))
    assert report["verdict"]["better"] is True
    assert {found["criterion"] for found in report["verdict"]["findings"]} == {
        "calibration", "golden", "latency", "labels", "fnmr", "gain", "group",
    }  # fmt: skip
    first, second = report["comparison"]["sets"]
    assert first["challenger"]["fnmr"] < first["champion"]["fnmr"]
    assert second == {"name": "site", "reason": "3 genuine comparisons of <b>few</b> fingers"}
    assert report["comparison"]["latency"]["budget_ms"] == 31.5
    assert report["comparison"]["labels"] == {"fingers": 12, "compared": 12, "suspects": 0}


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def read(report: dict[str, Any]) -> _Elements:
    elements = _Elements()
    elements.feed(gate_page(report, MODEL))
    return elements


def test_the_page_says_it_all_and_loads_nothing() -> None:
    page = read(report_dict())
    assert MODEL in page.words
    assert "It is better than the model in service then, 0123456789abcdef" in page.words
    for finding in report_dict()["verdict"]["findings"]:
        assert finding["detail"] in page.words
    assert "Not passed" not in page.words
    assert "finger position left" in page.words
    assert "60 of 10 fingers" in page.words
    assert "3 genuine comparisons of <b>few</b> fingers" in page.words  # as text
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "iframe", "b", "object"}
    (image,) = [attrs for tag, attrs in page.seen if tag == "img"]
    kind, _, content = str(image["src"]).partition(",")
    assert kind == "data:image/png;base64"
    assert b64decode(content).startswith(b"\x89PNG")
    assert not re.search(r"https?://|@import|url\(", gate_page(report_dict(), MODEL))


def test_a_model_that_was_compared_with_none_has_a_page_too() -> None:
    alone = report_dict() | {
        "champion_id": None, "verdict": None, "comparison": None, "champion": None,
    }  # fmt: skip
    page = read(alone)
    assert "no model in service" in page.words
    assert "EER" in page.words
    refused = alone | {
        "verdict": {
            "better": False,
            "findings": [
                {"criterion": "comparable", "subject": "", "passed": False, "detail": "other kind"}
            ],
        }
    }
    words = read(refused).words
    assert "not shown to be better than the model in service. Not passed: comparable." in words


def test_an_export_that_cannot_be_used_is_named_so() -> None:
    report = json.loads(json.dumps(report_dict()))
    report["comparison"]["golden"]["difference"] = None
    assert "unusable" in read(report).words
    assert np.isfinite(report_dict()["comparison"]["golden"]["difference"])


def test_sets_of_which_none_was_judged_make_no_table() -> None:
    report = json.loads(json.dumps(report_dict()))
    assert "paired bootstrap" in read(report).words
    del report["comparison"]["sets"][0]
    words = read(report).words
    assert "paired bootstrap" not in words
    assert "site was not judged" in words
