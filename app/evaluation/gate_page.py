"""The gate's report as one page that loads nothing: for whoever has to decide about a model."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

import numpy as np

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
"""What a browser should let the page do."""

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem;
  border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.verdict { padding: .7rem 1rem; border-left: .4rem solid #777; background: #f4f4f4; }
.yes { border-color: #00734f; } .no { border-color: #b34700; }
.mark { font-weight: 600; white-space: nowrap; }
.pass { color: #00734f; } .fail { color: #b34700; } .none { color: #666; }
.small { color: #555; font-size: .88rem; }
td.n .small { display: block; }
img { max-width: 100%; height: auto; }
code { font-size: .92em; }
"""
MOST_CURVES = 8
"""Charts on a page: a report that was uploaded may name any number of sets."""
_CRITERIA = {"fnmr": "FNMR", "golden": "golden vectors"}
"""Criteria that read otherwise on a page; the others stand for themselves."""
_MARKS = {
    True: '<span class="mark pass">passed</span>',
    False: '<span class="mark fail">not passed</span>',
    None: '<span class="mark none">no say</span>',
}


def gate_page(report: Mapping[str, Any], model_id: str) -> str:
    """The report as HTML.

    Args:
        report: as ``learning.gate_report`` writes it.
        model_id: whose it is.
    """
    parts = [
        f"<h1>Evaluation of model <code>{escape(model_id)}</code></h1>",
        *_verdict(report),
        *_sets(report),
        *_groups(report),
        *_curves(report),
        *_rates(report),
        *_words(report),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation of {escape(model_id)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _verdict(report: Mapping[str, Any]) -> Iterator[str]:
    verdict, champion = report["verdict"], report["champion_id"]
    if verdict is None:
        yield '<p class="verdict">There was no model in service to compare it with.</p>'
        return
    said = "better than" if verdict["better"] else "not shown to be better than"
    than = "the model in service" + (f" then, <code>{escape(champion)}</code>" if champion else "")
    kind = "yes" if verdict["better"] else "no"
    missed = dict.fromkeys(
        _CRITERIA.get(found["criterion"], found["criterion"])
        for found in verdict["findings"]
        if found["passed"] is False
    )
    why = f" Not passed: {escape(', '.join(missed))}." if missed else ""
    yield f'<p class="verdict {kind}"><strong>It is {said}</strong> {than}.{why}</p>'
    yield "<h2>Why</h2>"
    yield _table(
        ("Criterion", "Found", "Verdict"),
        [
            (
                escape(_CRITERIA.get(found["criterion"], found["criterion"])),
                escape(found["detail"]),
                _MARKS[found["passed"]],
            )
            for found in verdict["findings"]
        ],
    )


def _sets(report: Mapping[str, Any]) -> Iterator[str]:
    comparison = report["comparison"]
    if comparison is None:
        return
    yield "<h2>Both models on the same comparisons</h2>"
    judged = [found for found in comparison["sets"] if "fmr" in found]
    rows = [
        (
            escape(found["name"]) + (" (target)" if found["name"] == comparison["target"] else ""),
            f"{found['genuine']:,} / {found['impostor']:,}",
            f"{found['drawn']:,} {escape(found['unit'])}s",
            f"{100 * found['fmr']:.2g} %",
            _rate(found["champion"]),
            _rate(found["challenger"]),
            _difference(found["difference"]),
        )
        for found in judged
    ]
    if rows:
        yield _table(
            ("Set", "Genuine / impostor", "Drawn", "at FMR", *_MODELS, "Difference"),
            rows,
            numbers=1,
        )
        yield (
            '<p class="small">FNMR with 95 % intervals; the difference with its 90 % interval, '
            "whose upper end is what counts. From a paired bootstrap: subjects are drawn with "
            "replacement, for both models alike.</p>"
        )
    for found in comparison["sets"]:
        if "reason" in found:
            yield f"<p>{escape(found['name'])} was not judged: {escape(found['reason'])}.</p>"
    latency, golden = comparison["latency"], comparison["golden"]
    off = "unusable" if golden["difference"] is None else f"{golden['difference']:.2g}"
    yield _table(
        ("", "Champion", "This model", "Allowed"),
        [
            (
                f"Embedding one sample, median of {latency['runs']:d}, ms",
                f"{latency['champion_ms']:.1f}",
                f"{latency['challenger_ms']:.1f}",
                f"{latency['budget_ms']:.1f}",
            ),
            ("Golden vectors off by", "", off, f"{golden['tolerance']:.2g}"),
            (
                "Smallest FMR its calibration supports",
                f"{comparison['minimum_fmr']['champion']:.2g}",
                f"{comparison['minimum_fmr']['challenger']:.2g}",
                "",
            ),
        ],
        numbers=1,
    )


_MODELS = ("FNMR champion", "FNMR this model")


def _groups(report: Mapping[str, Any]) -> Iterator[str]:
    comparison = report["comparison"]
    found = [] if comparison is None else comparison["sets"]
    rows = [
        (
            escape(one["name"]),
            escape(f"{group['kind']} {group['group']}"),
            f"{group['genuine']:,} of {group['drawn']:,} {escape(one['unit'])}s",
            _rate(group["champion"]),
            _rate(group["challenger"]),
            _difference(group["difference"]),
        )
        for one in found
        for group in one.get("groups", ())
    ]
    if rows:
        yield "<h2>Groups</h2>"
        yield _table(("Set", "Group", "Genuine", *_MODELS, "Difference"), rows, numbers=2)


def _curves(report: Mapping[str, Any]) -> Iterator[str]:
    # Imported here: it brings the plotting library along, which a server may never need.
    from app.evaluation.plots import det_points_png

    yield "<h2>Detection error trade-off</h2>"
    champion = report["champion"] or {"det": {}}
    for name, points in islice(report["challenger"]["det"].items(), MOST_CURVES):
        curves = {"this model": np.asarray(points, float)}
        if name in champion["det"]:
            curves["champion"] = np.asarray(champion["det"][name], float)
        png = b64encode(det_points_png(curves, name)).decode()
        yield f'<img alt="DET curves on {escape(name)}" src="data:image/png;base64,{png}">'


def _rates(report: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Error rates of each</h2>"
    sides = [("this model", report["challenger"])]
    if report["champion"] is not None:
        sides.insert(0, ("champion", report["champion"]))
    rows = []
    for name in report["challenger"]["evaluations"]:
        for side, judged in sides:
            found = judged["evaluations"].get(name)
            if found is None:
                continue
            intervals = found["intervals"]
            rows.append(
                (
                    escape(name),
                    side,
                    _of(found["eer"], intervals["eer"]),
                    *(
                        _of(found["fnmr_at_fmr"][fmr], intervals["fnmr_at_fmr"][fmr])
                        for fmr in ("0.01", "0.001")
                    ),
                )
            )
    heads = ("Set", "Model", "EER", "FNMR at FMR 1 %", "FNMR at FMR 0.1 %")
    yield _table(heads, rows, numbers=2)


def _words(report: Mapping[str, Any]) -> Iterator[str]:
    policy = report["policy"]
    yield (
        '<p class="small">FMR: false match rate, how often two different fingers pass. FNMR: false '
        "non-match rate, how often the same finger does not. A model passes if at 95 % confidence "
        f"its FNMR is at most {100 * policy['set_margin']:g} points above the champion's on every "
        "set, falls on the target, and in no group is more than "
        f"{100 * policy['group_margin']:g} points higher beyond chance. FNMR is compared at FMR "
        f"{100 * policy['fmr']:g} % where a set's counts support it, else at the lowest that they "
        "do.</p>"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 99) -> str:
    """A table; cells are HTML, those from the column ``numbers`` on are figures."""

    def line(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag}{' class=n' if place >= numbers else ''}>{cell}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(heads, 'th')}</thead><tbody>{body}</tbody></table>"


def _rate(found: Mapping[str, Any]) -> str:
    return _of(found["fnmr"], found["interval"])


def _of(rate: float | None, interval: Sequence[float] | None) -> str:
    if rate is None:
        return "-"
    text = f"{100 * rate:.2f} %"
    if interval is None:
        return text
    low, high = interval
    return f'{text} <span class="small">({100 * low:.2f} to {100 * high:.2f})</span>'


def _difference(found: Mapping[str, Any]) -> str:
    value, lower, upper = (100 * found[name] for name in ("value", "lower", "upper"))
    return f'{value:+.2f} <span class="small">({lower:+.2f} to {upper:+.2f})</span>'
