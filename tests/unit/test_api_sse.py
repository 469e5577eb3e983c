"""Events of a job: each revision once, heartbeats in between, then the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.api.sse import HEARTBEAT, Pace, job_events
from app.core.records import Job, JobState


@dataclass(slots=True)
class Script:
    """A job whose every look shows the next of its states."""

    states: Sequence[tuple[int, JobState]]
    looks: int = 0
    gone_after: int = 10**6
    events: list[str] = field(default_factory=list)

    def read(self) -> Job:
        revision, state = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        return Job("j", "train", state, {}, revision=revision)

    async def gone(self) -> bool:
        return self.looks >= self.gone_after

    def play(self, seen: int = 0, heartbeat_s: float = 60.0) -> list[str]:
        async def listen() -> None:
            pace = Pace(poll_s=0.0, heartbeat_s=heartbeat_s)
            async for event in job_events(self.read, lambda j: j.state, seen, self.gone, pace):
                self.events.append(event.decode())

        asyncio.run(listen())
        return self.events


RUN, DONE = JobState.RUNNING, JobState.SUCCEEDED


def test_each_revision_once_then_the_end() -> None:
    events = Script([(1, RUN), (1, RUN), (3, RUN), (4, DONE), (5, DONE)]).play()
    assert events == [
        "id: 1\nevent: progress\ndata: running\n\n",
        "id: 3\nevent: progress\ndata: running\n\n",
        "id: 4\nevent: end\ndata: succeeded\n\n",
    ]


def test_a_listener_that_returns_goes_on_where_it_was() -> None:
    events = Script([(3, RUN), (4, DONE)]).play(seen=3)
    assert [event.splitlines()[0] for event in events] == ["id: 4"]


def test_the_end_is_told_also_to_who_has_seen_it() -> None:
    assert "event: end" in Script([(4, DONE)]).play(seen=4)[0]


def test_silence_is_broken_by_heartbeats() -> None:
    events = Script([(1, RUN)] * 4 + [(2, DONE)]).play(heartbeat_s=0.0)
    assert events.count(HEARTBEAT.decode()) == 3


def test_nobody_listens_nobody_looks() -> None:
    script = Script([(1, RUN)], gone_after=3)
    assert len(script.play()) == 1
    assert script.looks == 3
