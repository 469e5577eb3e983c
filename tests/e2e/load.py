"""A service under closed-loop load of enrolments, verifications and identifications.

Every client asks, waits for the answer and asks again. What it asked and what was answered is kept;
``load_checks`` judges it, ``load_figures`` counts it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.live import LiveService
from tests.e2e.scored_prints import DPI, ScoredPrints
from tests.fakes.prints import print_png

KEPT, PLAIN = "kept", "plain"
"""A gallery that keeps images, and one that keeps none but lets a match upgrade templates."""
BACK = "the model before"
PATIENCE_S = 600.0
LOOK_S = 0.05
CAPTURES = 10
"""Most images of one enrolment."""
OWN_SHARE = 0.25
"""Of genuine claims, those that a client makes for people whom it has enrolled itself."""
GENUINE, FALSE, SEARCH, NEW = "genuine claim", "false claim", "search", "enrolment"
DECK = [
    (kind, gallery)
    for kind, times in ((GENUINE, 4), (FALSE, 2), (SEARCH, 3), (NEW, 1))
    for gallery in (KEPT, PLAIN)
    for _ in range(times)
]
"""What a client asks for, in an order of its own, and then again in another."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request and its answer.

    Attributes:
        person: who is enrolled or claimed; empty for an identification.
        finger: whose it is said to be; of an identification the one that is shown.
        place: of the print that is shown, among the scored prints.
        status: 0 where there was no answer.
    """

    operation: str
    gallery: str
    person: str
    finger: int
    place: int
    began_s: float
    ended_s: float
    status: int
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """A promotion or rollback: asked for, and seen to be done."""

    model_id: str
    asked_s: float
    seen_s: float

    def meets(self, request: Request) -> bool:
        """Whether a request was under way meanwhile."""
        return self.asked_s <= request.ended_s and request.began_s <= self.seen_s


@dataclass(slots=True)
class Succession:
    """Which model served when, as far as one can see from without.

    Attributes:
        first: the model before all changes.
    """

    first: str
    changes: list[Change] = field(default_factory=list)

    def serving(self, request: Request) -> set[str]:
        """The models that were in service at some time during a request."""
        begins = [-float("inf"), *(change.asked_s for change in self.changes)]
        ends = [*(change.seen_s for change in self.changes), float("inf")]
        models = [self.first, *(change.model_id for change in self.changes)]
        return {
            model
            for model, begin, end in zip(models, begins, ends, strict=True)
            if begin <= request.ended_s and request.began_s <= end
        }


class Site:
    """Both galleries of a live service, and the models that it changes between."""

    def __init__(self, live: LiveService, prints: ScoredPrints, first: str) -> None:
        self.live, self.prints = live, prints
        self.succession = Succession(first)
        self._client = live.client()
        for gallery, keeping in (
            (KEPT, {"store_images": "encrypted"}),
            (PLAIN, {"upgrade_on_match": True}),
        ):
            answer = self._client.put(
                f"/v1/galleries/{gallery}", json=keeping | {"default_dpi": DPI}
            )
            assert answer.status_code == 201, answer.text

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def enrol_everybody(self) -> list[Request]:
        """Every finger in both galleries."""
        visitor = Visitor(self, self._client, 0)
        return [
            visitor.enrol(gallery, f"{gallery}-{finger}", finger)
            for gallery in (KEPT, PLAIN)
            for finger in self.prints.fingers
        ]

    def enrol_drawn(self, templates: int) -> None:
        """Many more templates with images, of nobody who is asked for."""
        for person in range(templates // CAPTURES):
            images = [print_png(person, capture) for capture in range(CAPTURES)]
            answer = self._client.post(
                "/enroll",
                data={"gallery": KEPT, "person_id": f"drawn-{person}", "on_duplicate": "allow"},
                files=[("images", ("print.png", image)) for image in images],
            )
            assert answer.status_code == 201, answer.text

    def change(self, model_id: str) -> Change:
        """Ask for a model, or for the one before (``BACK``), and wait until it serves."""
        back = model_id == BACK
        path = "/v1/models:rollback" if back else f"/v1/models/{model_id}:promote"
        asked_s = time.monotonic()
        answer = self._client.post(path)
        assert answer.status_code == 202, answer.text
        wanted = answer.json()["model_id"]
        while (ready := self._client.get("/health/ready")).json()["model_id"] != wanted:
            assert ready.status_code == 200, ready.text
            assert time.monotonic() < asked_s + PATIENCE_S, "".join(self.live.log[-40:])
            time.sleep(LOOK_S)
        change = Change(wanted, asked_s, time.monotonic())
        self.succession.changes.append(change)
        return change

    def done(self) -> list[str]:
        """All that the audit log tells was done, newest first."""
        actions: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            found = self._client.get(
                "/v1/audit", params={"limit": 200} | ({"cursor": cursor} if cursor else {})
            ).json()
            actions += [event["action"] for event in found["items"]]
            cursor = found["next_cursor"]
        return actions


class Visitor:
    """One client: asks for one thing after the other, and keeps what was answered.

    Args:
        number: of the client; what it asks follows from it.
    """

    def __init__(self, site: Site, client: httpx.Client, number: int) -> None:
        self._prints, self._client = site.prints, client
        self._name, self._rng = f"new-{number}", random.Random(number)
        self._enrolled: list[tuple[str, str, int]] = []
        self._deck: list[tuple[str, str]] = []

    def ask(self) -> Request:
        """The next request of the deck, about any finger."""
        if not self._deck:
            self._deck = self._rng.sample(DECK, len(DECK))
        kind, gallery = self._deck.pop()
        finger = self._rng.choice(self._prints.fingers)
        person, shown = f"{gallery}-{finger}", finger
        if kind == NEW:
            person = f"{self._name}-{len(self._enrolled)}"
            self._enrolled.append((gallery, person, finger))
            return self.enrol(gallery, person, finger, on_duplicate="warn")
        if kind == SEARCH:
            return self.identify(gallery, finger)
        if kind == FALSE:
            shown = self._rng.choice([one for one in self._prints.fingers if one != finger])
        elif self._enrolled and self._rng.random() < OWN_SHARE:
            gallery, person, finger = self._rng.choice(self._enrolled)
            shown = finger
        return self.verify(gallery, person, finger, shown)

    def enrol(
        self, gallery: str, person: str, finger: int, *, on_duplicate: str = "allow"
    ) -> Request:
        """Enrol somebody by the print of a finger that is enrolled."""
        place = self._prints.enrolled(finger)
        fields = {"person_id": person, "on_duplicate": on_duplicate}
        return self._post("enroll", gallery, person, finger, place, **fields)

    def verify(self, gallery: str, person: str, finger: int, shown: int) -> Request:
        """Claim to be a person, whose finger is given, and show any finger's probe."""
        place = self._rng.choice(self._prints.probes(shown))
        return self._post("verify", gallery, person, finger, place, person_id=person)

    def identify(self, gallery: str, finger: int) -> Request:
        """Search for a finger."""
        place = self._rng.choice(self._prints.probes(finger))
        return self._post("identify", gallery, "", finger, place)

    def _post(
        self, operation: str, gallery: str, person: str, finger: int, place: int, **fields: str
    ) -> Request:
        began_s = time.monotonic()
        try:
            answered = self._client.post(
                f"/{operation}",
                data=fields | {"gallery": gallery},
                files={"image": ("print.png", self._prints.prints[place].image)},
            )
            status, answer = answered.status_code, answered.json()
        except (httpx.HTTPError, ValueError) as error:
            status, answer = 0, {"error": repr(error)}
        ended_s = time.monotonic()
        return Request(operation, gallery, person, finger, place, began_s, ended_s, status, answer)


@contextmanager
def load(site: Site, clients: int) -> Iterator[list[Request]]:
    """So many clients, each with one request under way at any time until the block ends.

    What was answered is in the list, in no order, when the block has ended.
    """
    requests: list[Request] = []
    stopping = threading.Event()

    def visit(number: int) -> None:
        with site.live.client() as client:
            visitor = Visitor(site, client, number)
            while not stopping.is_set():
                requests.append(visitor.ask())

    threads = [threading.Thread(target=visit, args=(number + 1,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield requests
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def until(requests: Sequence[Request], done: Callable[[Request], bool], times: int = 1) -> None:
    """Wait until so many requests have been answered of which something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while sum(map(done, list(requests))) < times:
        assert time.monotonic() < deadline, len(requests)
        time.sleep(LOOK_S)


def verify_everybody(site: Site, enrolments: Sequence[Request], most: int) -> list[Request]:
    """Genuine claims of people who were enrolled, spread evenly over them."""
    step = max(1, len(enrolments) // most)
    with site.live.client() as client:
        visitor = Visitor(site, client, 0)
        return [
            visitor.verify(one.gallery, one.person, one.finger, one.finger)
            for one in enrolments[::step]
        ]
