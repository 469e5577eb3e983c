"""Where the time of one verification goes: its stages, and the functions that take most of it."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np

from app.bootstrap.home import open_home
from app.cli.bench.prints import Captures
from app.cli.bench.timing import Section
from app.cli.home import ACTOR, open_recognition
from app.imaging.normalise import centre_crop, normalise, views_at
from app.imaging.quality import assess
from app.imaging.resolution import resample
from app.imaging.ridges import ridge_field
from app.imaging.segment import segment
from app.inference.batcher import MicroBatcher
from app.inference.embedder import CompiledEmbedder
from app.inference.pose import PoseNetwork
from app.services.context import Recognition
from app.services.enroll import EnrolRequest, enroll
from app.services.outcomes import OnDuplicate, Verification
from app.services.verify import VerifyRequest, verify
from app.settings import Settings

STAGES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "decode": {},
    "prepare": {
        "resample": resample,
        "measure ridges": ridge_field,
        "segment": segment,
        "normalise": normalise,
        "assess the quality": assess,
        "crop": centre_crop,
    },
    "embed": {
        "turn and shift": views_at,
        "find the pose": PoseNetwork.find,
        "encoder": CompiledEmbedder.embed,
    },
    "match": {},
    "store": {},
}
"""As an attempt times them, and what of them is worth a row, by the function that does it."""
HEAVIEST = 12
AT_LEAST = 3

Function = tuple[str, int, str]
"""File, line and name, as a profile names it."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one verification takes under the profiler, on average.

    Attributes:
        stages_ms: by stage of the attempt, ``total`` too.
        own_ms, whole_ms: by function, without and with what it calls.
        slower: times that the profiler makes it take.
    """

    stages_ms: Mapping[str, float]
    own_ms: Mapping[Function, float]
    whole_ms: Mapping[Function, float]
    slower: float

    def stage_rows(self) -> Iterator[tuple[str, float]]:
        """Stages, each followed by its parts, in milliseconds; what is left of all at last."""
        total = self.stages_ms["total"]
        yield "a verification", total
        for stage, parts in STAGES.items():
            total -= self.stages_ms[stage]
            yield stage, self.stages_ms[stage]
            for part, function in parts.items():
                yield f"{stage}: {part}", self.whole_ms.get(_named(function), 0.0)
        yield "all else", total

    def share(self, function: Function) -> float:
        """Of the whole, what a function takes without what it calls."""
        return self.own_ms.get(function, 0.0) / self.stages_ms["total"]


def profile_sections(shown: Captures, settings: Settings, seconds: float) -> list[Section]:
    """A match and a refusal, warm, with a store of their own and without HTTP."""
    with _enrolled(shown, settings) as ctx:
        asked = [_verification(ctx, shown, off) for off in (0, 1)]
        for one in asked:
            one(1)  # compiles what it needs
        match, refusal = (_spent(one, seconds) for one in asked)
    says = (
        "One request in one process, without HTTP, warm, the network in the same thread; parts "
        f"are within their stage. The profiler makes a match take {match.slower:.2f}, a refusal "
        f"{refusal.slower:.2f} times as long."
    )
    each = ["a match: own ms", "with its calls", "a refusal: own ms", "with its calls"]
    heaviest = f"The {HEAVIEST} whose own share of a match or a refusal is greatest, by cProfile."
    return [
        Section(
            "Where the time goes",
            ["Stage", "a match, ms", "share", "a refusal, ms", "share"],
            stage_rows(match, refusal),
            says,
        ),
        Section(
            "The heaviest functions",
            ["Function", *each],
            function_rows(match, refusal),
            heaviest,
        ),
    ]


@contextmanager
def _enrolled(shown: Captures, settings: Settings) -> Iterator[Recognition]:
    """Recognition in a passing home, with one template of every finger."""
    with tempfile.TemporaryDirectory() as folder:
        passing = settings.model_copy(update={"home": Path(folder), "model_dir": None})
        with open_home(passing) as home, open_recognition(passing, home) as ctx:
            batcher = ctx.models.active().embedder
            if isinstance(batcher, MicroBatcher):
                batcher.close()  # it then embeds in this thread, the one that is profiled
            for finger, of_one in enumerate(shown.files):
                asked = EnrolRequest(
                    "default", f"p{finger}", 0, (of_one[0],), shown.dpi, OnDuplicate.ALLOW
                )
                enroll(ctx, ACTOR, asked)
            yield ctx


def _verification(ctx: Recognition, shown: Captures, off: int) -> Callable[[int], Verification]:
    def one(number: int) -> Verification:
        data, claimed = shown.claim(number, off)
        asked = VerifyRequest("default", data, person_id=f"p{claimed}", dpi=shown.dpi)
        return verify(ctx, ACTOR, asked)

    return one


def _spent(one: Callable[[int], Verification], seconds: float) -> Spent:
    """The same verifications without the profiler and with it, for so many seconds each."""
    plain_ms = [one(number).timings_ms["total"] for number in _numbers(seconds)]
    profile, stages_ms, last = cProfile.Profile(), Counter[str](), 0
    for last in _numbers(seconds):
        with profile:
            found = one(last)
        stages_ms.update(cast("Mapping[str, int]", found.timings_ms))
    calls = cast("Any", pstats.Stats(profile)).stats.items()
    return Spent(
        {name: ms / last for name, ms in stages_ms.items()},
        {function: own_s * 1e3 / last for function, (_, _, own_s, _, _) in calls},
        {function: whole_s * 1e3 / last for function, (_, _, _, whole_s, _) in calls},
        stages_ms["total"] / last / float(np.mean(plain_ms)),
    )


def _numbers(seconds: float) -> Iterator[int]:
    """1, 2, 3 ... for so many seconds."""
    began_s = time.perf_counter()
    for number in count(1):
        yield number
        if number >= AT_LEAST and time.perf_counter() - began_s >= seconds:
            return


def stage_rows(match: Spent, refusal: Spent) -> list[list[str]]:
    """Milliseconds and shares, stage by stage."""
    rows = []
    for (name, ms), (_, other_ms) in zip(match.stage_rows(), refusal.stage_rows(), strict=True):
        shares = (ms / match.stages_ms["total"], other_ms / refusal.stages_ms["total"])
        rows.append([name, f"{ms:.2f}", f"{shares[0]:.0%}", f"{other_ms:.2f}", f"{shares[1]:.0%}"])
    return rows


def function_rows(match: Spent, refusal: Spent) -> list[list[str]]:
    """The heaviest functions, that with the greatest share first."""
    functions = sorted(
        match.own_ms.keys() | refusal.own_ms.keys(),
        key=lambda one: (-max(match.share(one), refusal.share(one)), one),
    )
    return [
        [
            f"`{short_name(one)}`",
            *(
                f"{ms.get(one, 0.0):.2f}"
                for ms in (match.own_ms, match.whole_ms, refusal.own_ms, refusal.whole_ms)
            ),
        ]
        for one in functions[:HEAVIEST]
    ]


def short_name(function: Function) -> str:
    """A function with its file from the package on."""
    file, _, name = function
    if file == "~":
        return name.strip("<>")
    parts = PurePath(file).parts
    for top in ("site-packages", "app"):
        if top in parts:
            at = len(parts) - 1 - parts[::-1].index(top)
            parts = parts[at + (top != "app") :]
            return f"{'/'.join(parts)}: {name}"
    return f"{parts[-1]}: {name}"


def _named(function: Callable[..., Any]) -> Function:
    code = cast("Any", function).__code__
    return code.co_filename, code.co_firstlineno, code.co_name
