"""Losses over embeddings, one implementation for all recipes, in keras.ops.

Every one has a finite gradient where two embeddings are equal, but for the clamped distance of the
tutorials, whose gradient is zero there: that is what makes them stall.
"""

from __future__ import annotations

from typing import Any

from keras import ops

EPSILON = 1e-7
"""Below this the clamped distance stands still: ``keras.config.epsilon()`` of the tutorials."""
SMALL = 1e-12
"""Added under a root so that its gradient is finite at zero."""


def pair_distances(first: Any, second: Any, clamped: bool = False) -> Any:
    """Euclidean distances [n] of two rows of embeddings [n, d].

    Args:
        clamped: root of max(sum, ``EPSILON``), whose gradient vanishes below, as in many tutorials;
            otherwise root of the sum plus ``SMALL``.
    """
    squares = ops.sum(ops.square(first - second), axis=-1)
    return ops.sqrt(ops.maximum(squares, EPSILON) if clamped else squares + SMALL)


def all_distances(embeddings: Any) -> Any:
    """Euclidean distances [n, n] of all embeddings [n, d] with each other."""
    products = ops.matmul(embeddings, ops.transpose(embeddings))
    lengths = ops.sum(ops.square(embeddings), axis=-1)
    squares = lengths[:, None] + lengths[None, :] - 2.0 * products
    return ops.sqrt(ops.maximum(squares, 0.0) + SMALL)


def contrastive(distances: Any, same: Any, margin: float) -> Any:
    """Losses [n] of distances [n]: same d^2 + (1 - same) max(margin - d, 0)^2.

    Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping" (CVPR 2006),
    without its factor of a half, as the tutorials have it.
    """
    apart = ops.square(ops.maximum(margin - distances, 0.0))
    return same * ops.square(distances) + (1.0 - same) * apart


def batch_contrastive(embeddings: Any, labels: Any, margin: float) -> Any:
    """``contrastive`` over all pairs of a batch, genuine and impostor ones of equal weight.

    Args:
        embeddings: [n, d].
        labels: [n]; there must be a genuine and an impostor pair.

    Returns:
        The mean of both means, a scalar.
    """
    same, other = _pair_masks(labels)
    distances = all_distances(embeddings)
    near = ops.sum(same * ops.square(distances)) / ops.maximum(ops.sum(same), 1.0)
    apart = ops.sum(other * ops.square(ops.maximum(margin - distances, 0.0)))
    return 0.5 * (near + apart / ops.maximum(ops.sum(other), 1.0))


def binary_crossentropy(logits: Any, same: Any) -> Any:
    """Losses [n] of the log-odds [n] that a pair is genuine."""
    # Of softplus, not of maximum and abs: their gradients are wrong where the log-odds are 0.
    return ops.softplus(logits) - logits * same


def triplet_semi_hard(embeddings: Any, labels: Any, margin: float) -> Any:
    """Triplet loss with the semi-hard negative of each genuine pair.

    Schroff, Kalenichenko, Philbin, "FaceNet" (CVPR 2015): squared distances; of the negatives
    further away than the positive the nearest, and where there is none the furthest.

    Args:
        embeddings: [n, d], of unit length as a rule.
        labels: [n].

    Returns:
        The mean over all genuine (ordered) pairs, a scalar; 0 without any.
    """
    same, other = _pair_masks(labels)
    squares = ops.square(all_distances(embeddings))
    far = ops.max(squares) + 1.0
    from_positive = squares[:, :, None]  # anchor, positive, negative
    is_negative = other[:, None, :]
    further = is_negative * ops.cast(squares[:, None, :] > from_positive, "float32")
    nearest = ops.min(squares[:, None, :] * further + far * (1.0 - further), axis=-1)
    furthest = ops.max(squares * other, axis=-1)[:, None]
    negative = ops.where(ops.max(further, axis=-1) > 0.0, nearest, furthest)
    losses = ops.maximum(squares - negative + margin, 0.0) * same
    return ops.sum(losses) / ops.maximum(ops.sum(same), 1.0)


def supervised_contrast(scores: Any, labels: Any, scale: float, margin: float = 0.0) -> Any:
    """Contrast of every sample with all others of the batch, over a matrix of scores.

    Khosla et al., "Supervised Contrastive Learning" (NeurIPS 2020, the sum outside the logarithm).
    Where every label occurs exactly twice it is InfoNCE (van den Oord et al., 2018). The margin is
    taken off genuine scores (Wang et al., "Additive Margin Softmax", 2018).

    Args:
        scores: [n, n] comparison scores, higher is more alike.
        labels: [n].
        scale: of scores before the softmax, the inverse of the temperature.

    Returns:
        Losses [n]; 0 for a sample that is alone with its label.
    """
    genuine, _ = _pair_masks(labels)
    itself = ops.eye(ops.shape(scores)[0], dtype="float32")
    logits = scale * (scores - margin * genuine) - 1e9 * itself
    positives = ops.sum(genuine, axis=-1)
    mean_logit = ops.sum(logits * genuine, axis=-1) / ops.maximum(positives, 1.0)
    losses = ops.logsumexp(logits, axis=-1) - mean_logit
    return ops.where(positives > 0.0, losses, ops.zeros_like(losses))


def additive_margin_softmax(cosines: Any, labels: Any, scale: float, margin: float) -> Any:
    """Cross-entropy of scale * (cosine - margin of the own class).

    Wang, Cheng, Liu, Liu, "Additive Margin Softmax for Face Verification" (2018).

    Args:
        cosines: [n, classes] of embeddings with the classes' directions.
        labels: int [n].

    Returns:
        Losses [n].
    """
    own = ops.one_hot(ops.cast(labels, "int32"), cosines.shape[-1], dtype="float32")
    logits = scale * (cosines - margin * own)
    return ops.logsumexp(logits, axis=-1) - ops.sum(logits * own, axis=-1)


def _pair_masks(labels: Any) -> tuple[Any, Any]:
    """float32 [n, n] of genuine pairs, a sample with itself left out, and of impostor pairs."""
    same = ops.cast(ops.equal(labels[:, None], labels[None, :]), "float32")
    return same - ops.eye(ops.shape(same)[0], dtype="float32"), 1.0 - same
