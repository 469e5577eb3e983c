"""Prints rendered where the network runs are those that the generator makes, prepared alike."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from app.core.params import PreparationParams
from app.core.types import FloatArray
from app.imaging.normalise import normalise
from app.learning.device_pairs import (
    COLUMNS,
    DevicePairs,
    condition_columns,
    condition_row,
    draw_orders,
)
from app.learning.fit import FitProgress, fit, new_encoder
from app.learning.losses import GridContrast
from app.learning.order import Order
from app.learning.pairs import crop_pair
from app.learning.prints import Fingers, view_of
from app.learning.raster import box_sum, enlarged, enlargement, normalised
from app.learning.recipe_book import find_print_recipe
from app.learning.recipes import PoseNoise, Prints, Recipe, Schedule
from app.learning.rendering import PairRenderer, train_on_renders
from app.networks.device import Device
from app.synth.conditions import Conditions, Sensor, Skin, Touch
from app.synth.fields import enlarge
from app.synth.impression import impress
from app.synth.population import population
from app.synth.ridges import MasterPrint

PARAMS = PreparationParams()
STILL = PoseNoise(rotation_deg=0.0, shift_px=0.0, common_rotation_deg=0.0)
FINGERS = 3
CONDITIONS = len(condition_columns())


@cache
def masters() -> tuple[MasterPrint, ...]:
    return tuple(population(31, FINGERS))


@cache
def renderer(upright: bool) -> PairRenderer:
    return PairRenderer(masters(), PARAMS, seed=4, upright=upright)


def order(
    finger: int, first: Conditions, second: Conditions, noise: PoseNoise = STILL
) -> FloatArray:
    blank = np.zeros((1, CONDITIONS), np.float32)
    orders = draw_orders(np.random.default_rng(2), np.array([finger]), blank, noise)
    orders[0, :, -CONDITIONS:] = condition_row(first), condition_row(second)
    return orders


def render(orders: FloatArray, *, upright: bool = False) -> FloatArray:
    return np.asarray(keras.ops.convert_to_numpy(renderer(upright)(orders)))


def likeness(one: FloatArray, other: FloatArray, reach_px: int = 0) -> float:
    """Best correlation of two samples where both are foreground, over small shifts."""
    best = -1.0
    for down in range(-reach_px, reach_px + 1):
        for right in range(-reach_px, reach_px + 1):
            moved = np.roll(other, (down, right), (0, 1))
            both = (one[..., 1] * moved[..., 1]) > 0
            best = max(best, float(np.corrcoef(one[both][:, 0], moved[both][:, 0])[0, 1]))
    return best


def drawn(fingers: int = FINGERS, seed: int = 1, steps: int = 2) -> DevicePairs:
    return DevicePairs(fingers, PoseNoise(), batch_fingers=2, steps=steps, seed=seed, captures=64)


def test_samples_depend_on_the_orders_and_on_nothing_else() -> None:
    orders, _ = drawn()[0]
    once = render(orders)
    np.testing.assert_array_equal(once, render(orders))
    elsewhere = orders.copy()
    elsewhere[..., COLUMNS.index("noise_x")] = 1.0 - orders[..., COLUMNS.index("noise_x")]
    assert np.abs(render(elsewhere)[..., 0] - once[..., 0]).mean() > 0.005


def test_samples_are_what_the_encoder_is_shown() -> None:
    samples = np.concatenate([render(drawn()[step][0]) for step in range(2)])
    image, mask = samples[..., 0], samples[..., 1]
    assert samples.shape == (8, PARAMS.size_px, PARAMS.size_px, 2)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert (image[mask == 0.0] == 0.0).all()
    assert np.abs(image).max() <= 1.0
    assert (image[mask == 1.0] < 0.0).mean() == pytest.approx(0.5, abs=0.1)


def test_two_impressions_of_a_finger_lie_on_each_other() -> None:
    turned = Touch(rotation_deg=25.0, at_mm=(1.0, -1.5), aim_mm=(0.5, 0.5))
    orders = order(0, Conditions(), Conditions(touch=turned))
    orders[..., COLUMNS.index("turn_deg")] = 12.0
    first, second = render(orders)
    assert likeness(first, second) > 0.95
    other, _ = render(order(1, Conditions(), Conditions()))
    assert abs(likeness(first, other)) < 0.3


def test_the_pose_error_moves_the_second_impression_only() -> None:
    still = order(0, Conditions(), Conditions())
    shifted = still.copy()
    shifted[:, 1, COLUMNS.index("residual_px_x")] = 7.0
    first, second = render(shifted)
    np.testing.assert_array_equal(first, render(still)[0])
    assert likeness(first, np.roll(second, 7, axis=1)) > 0.97
    assert likeness(first, second) < 0.6


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Conditions(), Conditions()),
        (
            Conditions(Touch(rotation_deg=20, at_mm=(1, -1.5)), sensor=Sensor((16, 20), 1.02)),
            Conditions(Touch(rotation_deg=-15, aim_mm=(-1, 1))),
        ),
        (
            Conditions(Touch(torsion_deg=8, traction_mm=(0.7, -0.5))),
            Conditions(Touch(torsion_deg=-6, traction_mm=(-0.5, 0.5))),
        ),
        (
            Conditions(Touch(pressure_fade=0.5), Skin(swelling=0.4, pores=0.4)),
            Conditions(skin=Skin(swelling=-0.5), sensor=Sensor(slope=6, blur_mm=0.05)),
        ),
    ],
    ids=["perfect", "placed", "strained", "inked"],
)
@pytest.mark.parametrize("upright", [False, True])
def test_renders_what_the_generator_would_make(
    first: Conditions, second: Conditions, upright: bool
) -> None:
    rng = np.random.default_rng(3)
    finger = masters()[0]
    views = [
        view_of(impress(finger, rng, made), finger.centre_px, PARAMS) for made in (first, second)
    ]
    expected = crop_pair(views[0], views[1], PARAMS, replace(STILL, upright=upright), rng)
    rendered = render(order(0, first, second), upright=upright)
    for sample, wanted in zip(rendered, expected, strict=True):
        whole = np.dstack([wanted.image, wanted.mask])
        # The crop lies around the foreground that was found, here around the one that is known.
        # A crop around the core cuts some of the touch off, and the rest lies a little elsewhere.
        assert likeness(sample, whole, reach_px=4) > (0.6 if upright else 0.75)
        assert sample[..., 1].sum() == pytest.approx(float(wanted.mask.sum()), rel=0.15)


def test_every_condition_of_the_generator_shows() -> None:
    base = Conditions(
        Touch(stretch_mm=0.1, semi_axes_mm=(6.0, 8.0)),
        Skin(0.1, 0.3, 0.2, 0.2),
        Sensor((17.0, 20.0), 1.0, 60.0, 200.0, 220.0, 3.0, 0.2, 4.0, 8.0, 3.0, 4.0, 0.03),
    )
    plain = order(0, base, base)
    plain[..., COLUMNS.index("noise_x")] = plain[..., COLUMNS.index("noise_y")] = 0.4
    orders = np.repeat(plain, CONDITIONS, axis=0)
    changed = np.arange(CONDITIONS)
    orders[changed, 1, len(COLUMNS) - CONDITIONS + changed] *= 0.8
    orders[changed, 1, len(COLUMNS) - CONDITIONS + changed] += 0.3
    expected = render(plain)[1]
    for start in range(0, CONDITIONS, 8):
        for name, sample in zip(
            condition_columns()[start:], render(orders[start : start + 8])[1::2], strict=False
        ):
            assert not np.array_equal(sample, expected), f"{name} is not rendered"


def test_normalises_as_the_service_does() -> None:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2, 90, 70)).astype(np.uint8)
    masks = (cv2.blur(rng.random((90, 70, 2)), (15, 15)) > 0.5).astype(np.float32)
    masks = np.ascontiguousarray(masks.transpose(2, 0, 1))
    got = keras.ops.convert_to_numpy(normalised(images.astype(np.float32), masks, PARAMS.block_px))
    for image, mask, ours in zip(images, masks, got, strict=True):
        np.testing.assert_allclose(ours, normalise(image, mask, PARAMS), atol=1e-4)


@settings(max_examples=15)
@given(st.integers(1, 20), st.integers(20, 27), st.integers(20, 27))
def test_box_sums_are_those_of_the_service(side: int, rows: int, cols: int) -> None:
    image = np.random.default_rng(side).random((rows, cols), dtype=np.float32)
    wanted = cv2.boxFilter(
        image, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    got = keras.ops.convert_to_numpy(box_sum(image[None], side))[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_enlarges_as_the_generator_does() -> None:
    coarse = np.random.default_rng(6).standard_normal((1, 5, 5), dtype=np.float32)
    got = keras.ops.convert_to_numpy(enlarged(coarse, enlargement(5, 33)))[0]
    np.testing.assert_allclose(got, enlarge(coarse[0], (33, 33)), atol=1e-5)


def test_orders_are_the_same_for_the_same_seed_and_epoch() -> None:
    batches, again = drawn(), drawn()
    again.begin_epoch(1)
    batches.begin_epoch(1)
    orders, fingers = batches[1]
    np.testing.assert_array_equal(orders, again[1][0])
    assert not np.array_equal(orders, again[0][0])
    again.begin_epoch(0)
    assert not np.array_equal(orders, again[1][0])
    assert not np.array_equal(orders, drawn(seed=2)[1][0])
    np.testing.assert_array_equal(fingers, np.repeat(orders[:, 0, 0], 2))
    assert len(set(fingers)) == len(orders)
    assert orders.shape == (2, 2, len(COLUMNS))


@pytest.mark.parametrize("wrong", [(), "dpi"])
def test_refuses_masters_it_cannot_render(wrong: Any) -> None:
    with pytest.raises(ValueError, match="250 dpi"):
        PairRenderer(list(population(1, 1, dpi=125)) if wrong else [], PARAMS, seed=1)


def tiny_network() -> keras.Model:
    keras.utils.set_random_seed(1)
    sample = keras.Input((PARAMS.size_px, PARAMS.size_px, 2))
    x = layers.Conv2D(4, 7, strides=4, padding="same", activation="relu")(sample)
    cells = layers.UnitNormalization()(layers.Conv2D(8, 5, strides=4, padding="same")(x))
    cover = layers.AveragePooling2D(16)(sample[..., 1:2])
    return keras.Model(sample, layers.Concatenate()([cells, cover]))


def fit_tiny(folder: Path, epochs: int) -> tuple[keras.Model, list[float]]:
    network = tiny_network()
    model = train_on_renders(network, renderer(False))
    model.compile(keras.optimizers.AdamW(1e-2), GridContrast(20.0, 0.1, 8.0))
    keep = keras.callbacks.BackupAndRestore(str(folder), delete_checkpoint=False)
    history = model.fit(drawn(), epochs=epochs, callbacks=[keep], shuffle=False, verbose=0)
    return network, [float(loss) for loss in history.history.get("loss", ())]


def test_a_fit_renders_its_prints_and_keeps_only_what_is_learned(tmp_path: Path) -> None:
    before = tiny_network().get_weights()
    network, losses = fit_tiny(tmp_path, epochs=1)
    assert np.isfinite(losses).all()
    assert any(not np.allclose(*pair) for pair in zip(before, network.get_weights(), strict=True))
    kept = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert kept < masters()[0].ridges.nbytes, "the masters are in the checkpoint"
    resumed, later = fit_tiny(tmp_path, epochs=1)
    assert later == []
    for ours, theirs in zip(resumed.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_fit_of_a_recipe_takes_fingers_to_render(tmp_path: Path) -> None:
    recipe = Recipe(
        "tiny",
        "",
        architecture_params={"widths": (4, 8, 8), "blocks": (1, 1), "channels": 4},
        preparation=PARAMS,
        schedule=Schedule(steps=4, steps_per_epoch=2, batch_fingers=2, warmup_steps=1),
    )
    seen: list[FitProgress] = []
    fingers = Fingers(31, masters())
    epochs = fit(recipe, new_encoder(recipe), fingers, seen.append, tmp_path / "state")
    assert [at.step for at in seen] == [1, 2, 3, 4]
    assert [epoch.step for epoch in epochs] == [2, 4]
    assert np.isfinite([epoch.loss for epoch in epochs]).all()
    again = fit(recipe, new_encoder(recipe), fingers, seen.append, tmp_path / "state")
    assert (again, len(seen)) == (epochs, 4)


@pytest.mark.parametrize(
    ("prints", "device", "rendered"),
    [
        ("auto", "gpu:0", True),
        ("auto", "cpu:0", False),
        ("device", "cpu:0", True),
        ("host", "gpu:0", False),
    ],
)
def test_prints_are_made_where_the_order_says(prints: Prints, device: str, rendered: bool) -> None:
    order = Order(find_print_recipe("default"), Device(device, "", "tensorflow", ""), prints=prints)
    assert order.renders_on_device is rendered


def main(out: Path) -> None:
    """What tests/integration runs under the other tensor libraries."""
    fit_tiny(out / "state", epochs=1)
    np.save(out / "samples.npy", render(drawn()[0][0]))
