"""The bench's profile of a verification, by the shipped model."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.bench.prints import captures
from app.cli.bench.profile import HEAVIEST, STAGES, profile_sections
from app.settings import Settings


def test_every_part_of_a_stage_is_seen_in_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.bench.prints.FINGERS", 2)
    monkeypatch.setattr("app.cli.bench.prints.EACH", 3)
    stages, heaviest = profile_sections(captures(tmp_path), Settings(home=tmp_path / "home"), 0.01)
    ms = {row[0]: (float(row[1]), float(row[3])) for row in stages.rows}
    parts = [f"{stage}: {part}" for stage, parts in STAGES.items() for part in parts]
    assert [name for name in parts if not min(ms[name]) > 0.0] == []
    whole = ms["a verification"]
    for at in (0, 1):
        assert sum(ms[name][at] for name in [*STAGES, "all else"]) == pytest.approx(
            whole[at], abs=0.05
        )
        assert ms["all else"][at] < whole[at] / 2
    assert len(heaviest.rows) == HEAVIEST
    assert not (tmp_path / "home").exists()
