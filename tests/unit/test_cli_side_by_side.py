"""The comparison of synthetic with real prints: what it measures, and what it lets out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.cli.side_by_side.__main__ import (
    BEGIN,
    END,
    PRIVATE,
    Page,
    distance_table,
    draw_private,
    publish,
)
from app.cli.side_by_side.figures import TILE_PX, normalised_tile, raw_tile, sheet
from app.cli.side_by_side.measures import MEASURES, PX, cleaned, compare, measure
from app.cli.side_by_side.prints import Print, prepared, real_prints, synthetic_prints
from app.core.errors import InvalidInput
from app.core.types import FloatArray
from app.synth import find_minutiae
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def synthetic() -> list[Print]:
    return list(synthetic_prints(6))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    return path


def spoilt_stripes() -> FloatArray:
    """Slanting ridges, 0.5 mm apart, under noise; negative on ridges."""
    x, y = np.meshgrid(np.arange(150.0), np.arange(150.0))
    across = x * np.sin(0.6) + y * np.cos(0.6)
    noise = np.random.default_rng(1).normal(0.0, 0.7, x.shape)
    return np.asarray(-np.cos(2.0 * np.pi * across / (0.5 * PX)) + noise, np.float32)


def test_every_print_has_every_measure(synthetic: list[Print]) -> None:
    measured = measure(synthetic)
    assert set(measured) == set(MEASURES)
    for values in measured.values():
        assert values.shape == (6,)
        assert np.isfinite(values).all()
    assert np.all((measured["period"] > 0.3) & (measured["period"] < 0.7))
    assert np.all((measured["minutiae"] > 0.05) & (measured["minutiae"] < 0.6))


def test_a_blank_image_has_no_measures() -> None:
    blank = prepared("nobody", np.full((300, 300), 255, np.uint8), 500.0)
    assert all(np.isnan(values).all() for values in measure([blank]).values())


def test_cleaning_takes_the_noise_and_leaves_the_ridges() -> None:
    spoilt = spoilt_stripes()
    found = len(find_minutiae(spoilt, 250)), len(find_minutiae(cleaned(spoilt, 0.5 * PX), 250))
    assert found[0] > 20
    assert found[1] == 0


def test_the_distance_tells_like_from_unlike() -> None:
    rng = np.random.default_rng(3)
    one, alike, unlike = ({key: rng.normal(m, 1.0, 300) for key in MEASURES} for m in (0, 0, 3))
    near, far = (compare([one, alike], other)["area"] for other in (alike, unlike))
    assert near.distance < 0.1
    assert near.between_sets < 0.15
    assert far.distance > 0.8
    assert far.real == near.real
    assert far.synthetic[0] < far.synthetic[1] < far.synthetic[2]
    assert np.isnan(compare([one], alike)["area"].between_sets)


def test_tiles_show_the_finger_in_their_middle(synthetic: list[Print]) -> None:
    for one in synthetic:
        raw, normalised = raw_tile(one), normalised_tile(one)
        assert raw.shape == normalised.shape == (TILE_PX, TILE_PX)
        middle = normalised[60:140, 60:140]
        assert middle.std() > 40.0
    assert sheet([raw] * 5, 2).height > 2 * sheet([raw], 2).height


def test_what_is_published_holds_synthetic_prints_only(page: Path, synthetic: list[Print]) -> None:
    measured = measure(synthetic)
    publish(Page.read(page), {"one": measured, "other": measured}, measured, synthetic)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("| 0.00 |") >= len(MEASURES)
    assert sorted(path.name for path in page.with_suffix("").iterdir()) == [
        "distributions.png", "normalised.png", "raw.png", "same-finger.png",
    ]  # fmt: skip
    with Image.open(page.with_suffix("") / "raw.png") as raw:
        shown = np.asarray(raw.convert("L"), np.float32)
    wanted = raw_tile(synthetic[0]).astype(np.float32)
    assert np.abs(shown[:TILE_PX, :TILE_PX] - wanted).mean() < 8.0


def test_the_private_sheets_show_both(tmp_path: Path, synthetic: list[Print]) -> None:
    draw_private(tmp_path / "private", synthetic[:3], synthetic[3:])
    for name in ("raw.png", "normalised.png"):
        with Image.open(tmp_path / "private" / name) as both:
            assert both.width > 8 * TILE_PX


def test_a_page_without_a_place_for_the_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("no place here", "utf-8")
    with pytest.raises(InvalidInput):
        Page.read(tmp_path / "page.md")


def test_without_real_sets_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        next(real_prints(tmp_path, 3))


def test_the_private_folder_is_kept_out_of_the_repository() -> None:
    """Real prints may not be committed."""
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert not PRIVATE.is_absolute()
    assert f"{PRIVATE.parts[0]}/" in ignored


def test_the_table_has_a_row_a_measure(synthetic: list[Print]) -> None:
    measured = measure(synthetic)
    lines = distance_table(compare([measured], measured)).splitlines()
    assert len(lines) == 2 + len(MEASURES)


def test_real_prints_are_read_from_every_set(datasets: Path) -> None:
    prints = list(real_prints(datasets, 2))
    assert len(prints) == 2 * len({one.source for one in prints})
    assert all(one.mask.any() for one in prints)
