"""Multiply-adds counted by hand."""

from __future__ import annotations

from app.networks.layer_stack import Layer, layer_stack
from app.networks.multiply_adds import multiply_adds


def cost(*stack: Layer, side_px: int = 8) -> int:
    return multiply_adds(layer_stack(side_px, side_px, stack))


def test_a_convolution_uses_its_kernel_at_every_place_of_the_output() -> None:
    assert cost({"layer": "conv", "filters": 4, "kernel": 3}) == 6 * 6 * (3 * 3 * 1 * 4)
    assert cost({"layer": "conv", "filters": 4, "kernel": 3, "padding": "same"}) == 64 * 36
    strided = {"layer": "conv", "filters": 4, "kernel": 3, "padding": "same", "stride": 2}
    assert cost(strided) == 16 * 36


def test_a_separable_convolution_is_a_convolution_a_channel_and_one_of_channels() -> None:
    first = {"layer": "conv", "filters": 5, "kernel": 1}
    separable = {"layer": "conv", "filters": 4, "kernel": 3, "separable": True}
    assert cost(first, separable) == 64 * 5 + 36 * (3 * 3 * 5 + 5 * 4)


def test_dense_layers_count_their_weights() -> None:
    flat = {"layer": "flatten"}
    assert cost(flat, {"layer": "dense", "units": 10}, {"layer": "dense", "units": 2}) == 640 + 20


def test_a_dense_layer_on_cells_counts_them_all() -> None:
    assert cost({"layer": "dense", "units": 3}) == 64 * 3


def test_residual_blocks_count_their_shortcut() -> None:
    block = {"layer": "residual", "filters": 4, "stride": 2}
    assert cost(block) == 16 * (9 * 4 + 9 * 4 * 4 + 1 * 4)


def test_what_only_moves_or_pools_is_free() -> None:
    assert cost({"layer": "pool"}, {"layer": "dropout", "rate": 0.5}, {"layer": "flatten"}) == 0
