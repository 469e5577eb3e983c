"""Layers that call a backend's own kernel where Keras goes a longer way."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="whorl")
class Normalization(layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation over the last axis of a map, one kernel where the backend has one.

    Keras writes it as a dozen elementwise operations in float32; on a CPU they, not the
    convolutions, are what a training step then waits for. Variables and result are the same, but
    the moving variance is the unbiased one.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """[n, rows, cols, channels] -> the same shape and dtype."""
        if training and self.trainable:
            fused = _FUSED.get(keras.backend.backend())
            if fused is not None:
                return fused(self, inputs)
        return super().call(inputs, training=training, mask=mask)

    def remember(self, mean: Any, variance: Any) -> None:
        """Let the moving statistics follow those of a batch."""
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * (1.0 - keep))
        self.moving_variance.assign(self.moving_variance * keep + variance * (1.0 - keep))


def _by_tensorflow(layer: Normalization, inputs: Any) -> Any:
    import tensorflow as tf

    unused = tf.zeros([0])
    normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.convert_to_tensor(layer.gamma.value),
        offset=tf.convert_to_tensor(layer.beta.value),
        mean=unused,
        variance=unused,
        epsilon=layer.epsilon,
        is_training=True,
    )
    layer.remember(mean, variance)
    return normalised


def _by_torch(layer: Normalization, inputs: Any) -> Any:
    from torch.nn.functional import batch_norm

    channels_first = batch_norm(
        inputs.permute(0, 3, 1, 2),
        layer.moving_mean.value,
        layer.moving_variance.value,
        layer.gamma.value,
        layer.beta.value,
        training=True,
        momentum=1.0 - layer.momentum,
        eps=layer.epsilon,
    )
    return channels_first.permute(0, 2, 3, 1)


_FUSED = {"tensorflow": _by_tensorflow, "torch": _by_torch}
