"""Whole requests over HTTP, by many clients at once, beside the same work in a loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.cli.bench.prints import Captures
from app.cli.bench.service import (
    BACK_OFF_S,
    Answers,
    Service,
    ask,
    form,
    serving,
    watched_memory,
)
from app.cli.bench.timing import Section, Times, in_turns, whole_ms
from app.cli.bench.verification import Loop
from app.core.processors import usable_processors

CLIENTS = (1, 4, 16, 64)
CROWD = 16
"""Of them, whose pace is held against the loop's."""
PLACES = 128
"""More than clients, so that nobody is refused where the pace is measured."""
OVER = 10
"""So many times the places ask in the measurement of overload."""
FEW_PLACES = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A kind of request.

    Attributes:
        body: of the n-th.
        status: of an answer.
    """

    name: str
    path: str
    body: Callable[[int], bytes]
    status: int = 200


def request_section(loop: Loop, shown: Captures, seconds: float) -> Section:
    """Requests a second and their times, by clients; the loop right before and after matches."""
    verify, *others = _kinds(shown)
    with _enrolled(PLACES, shown) as service:
        before = _loop(loop, seconds)
        matches = {n: ask(service, n, seconds, verify.path, verify.body) for n in CLIENTS}
        after = _loop(loop, seconds)
        rows = [_row(verify, clients, answers) for clients, answers in matches.items()]
        for kind in others:
            for clients in CLIENTS:
                answers = ask(service, clients, seconds, kind.path, kind.body)
                rows.append(_row(kind, clients, answers))
    alone, crowded = matches[CLIENTS[0]], matches[CROWD]
    in_loop = Times(before.all_ms + after.all_ms)
    mean_ms = float(np.mean(in_loop.all_ms))
    says = (
        f"In a loop in one process, without HTTP and without a store, a match takes "
        f"{in_loop.p50_ms:.1f} ms ({1e3 / mean_ms:.0f} a second). A lone `/verify` takes "
        f"{alone.times(verify.status).p50_ms / in_loop.p50_ms:.2f} times as long; {CROWD} clients "
        f"together have {crowded.per_second(verify.status) * mean_ms / 1e3:.2f} of its pace."
    )
    head = ["Request", "Clients", "a second", "p50 ms", "p99 ms", "other answers"]
    return Section("Requests", head, rows, says)


def overload_section(shown: Captures, seconds: float) -> Section:
    """Ten times as many clients as there are places: goodput, how soon the others know, memory."""
    verify = _kinds(shown)[0]
    with _enrolled(FEW_PLACES, shown) as service:
        seen = []
        for clients in (FEW_PLACES, OVER * FEW_PLACES):
            with watched_memory(service) as memory_mib:
                answers = ask(service, clients, seconds, verify.path, verify.body)
            seen.append((clients, answers, memory_mib))
    (_, full, _), (_, over, memory_mib) = seen
    kept = over.per_second(200) / full.per_second(200)
    left = [usable_processors() - answers.processors for answers in (full, over)]
    says = (
        f"`WHORL_QUEUE_LIMIT={FEW_PLACES}`, {seconds:g} s each; whoever is refused asks again "
        f"after {BACK_OFF_S:g} s, from the same processors. Under {OVER} times as many clients as "
        f"places the pace is {kept:.2f} of that at full places, {kept * left[0] / left[1]:.2f} for "
        "each processor that the clients leave; the memory is at most "
        f"{max(memory_mib) / memory_mib[0]:.2f} times what it was before."
    )
    times = ["p50 ms of a 200", "p99 ms of a 503", "clients' processors"]
    memory = ["MiB before", "at most", "after"]
    head = ["Clients", "200 a second", "503 a second", *times, *memory]
    return Section("Overload", head, [overload_row(*one) for one in seen], says)


def overload_row(clients: int, answers: Answers, memory_mib: Sequence[float]) -> list[str]:
    """Paces, times, what the clients took, and memory before, at most and after."""
    return [
        str(clients),
        f"{answers.per_second(200):.1f}",
        f"{answers.per_second(503):.1f}",
        whole_ms(answers.times(200).p50_ms),
        whole_ms(answers.times(503).p99_ms),
        f"{answers.processors:.2f}",
        *(f"{mib:,.0f}" for mib in (memory_mib[0], max(memory_mib), memory_mib[-1])),
    ]


@contextmanager
def _enrolled(places: int, shown: Captures) -> Iterator[Service]:
    """A service of so many places, with one template of every finger."""
    with (
        tempfile.TemporaryDirectory() as home,
        serving(Path(home), {"WHORL_QUEUE_LIMIT": str(places)}) as service,
    ):
        _enrol(service, shown)
        yield service


def _loop(loop: Loop, seconds: float) -> Times:
    return in_turns({"loop": loop.genuine}, seconds)["loop"]


def _enrol(service: Service, shown: Captures) -> None:
    connection = service.connect()
    for finger, of_one in enumerate(shown.files):
        fields = {"person_id": f"p{finger}", "dpi": f"{shown.dpi:g}", "on_duplicate": "allow"}
        status = service.post(connection, "/enroll", form(fields, {"images": of_one[0]}))
        if status != 201:
            raise RuntimeError(f"enrolment of finger {finger} got {status}")
    connection.close()


def _kinds(shown: Captures) -> list[Asked]:
    def body(number: int, **fields: str) -> bytes:
        dpi = {"dpi": f"{shown.dpi:g}"}
        image = "images" if "on_duplicate" in fields else "image"
        return form(fields | dpi, {image: shown.probe(number)[1]})

    def verify(number: int, off: int) -> bytes:
        _, claimed = shown.claim(number, off)
        return body(number, person_id=f"p{claimed}")

    return [
        Asked("verify, genuine", "/verify", lambda n: verify(n, 0)),
        Asked("verify, impostor", "/verify", lambda n: verify(n, 1)),
        Asked("identify among 10", "/identify", body),
        Asked(
            "enrol", "/enroll", lambda n: body(n, person_id=f"new{n}", on_duplicate="allow"), 201
        ),
    ]


def _row(kind: Asked, clients: int, answers: Answers) -> list[str]:
    took = answers.times(kind.status)
    others = {status: len(all_ms) for status, all_ms in answers.took_ms.items()}
    others.pop(kind.status, None)
    return [
        kind.name,
        str(clients),
        f"{answers.per_second(kind.status):.1f}",
        whole_ms(took.p50_ms),
        whole_ms(took.p99_ms),
        ", ".join(f"{n} x {status}" for status, n in others.items()) or "-",
    ]
