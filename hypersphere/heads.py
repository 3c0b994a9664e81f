"""Heads: layers that turn an embedding into logits, each with its own idea of scale and margin.

In training a head is called with the labels, `head(embedding, label)`: a margin and AdaCos's next
scale need them. `head(embedding)` gives the logits to predict with. Heads compute in float32 under
mixed precision too, since a cosine near 1 has no digits left in bfloat16.
"""

import math

import keras
import tensorflow as tf
from keras import ops

from hypersphere.layers import unit

SMALLEST_SQUARED_SINE = 1e-6  # the derivative of a sine by its cosine is infinite at cos = +-1
SMALLEST_SCALE = 1e-3

register = keras.saving.register_keras_serializable(package="hypersphere")


class Head(keras.layers.Layer):
    """What the heads share. The arguments in `positive` must be so: ValueError if one is not.

    With `legacy`, norms are those of the whole batch and the whole kernel instead of each embedding's
    and each class's: a fault that published code has, kept as a control for what it costs.
    """

    def __init__(self, classes, legacy=False, seed=None, dtype="float32", least_classes=2, positive=None, **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        if classes < least_classes:
            raise ValueError(f"{type(self).__name__}: {classes} classes, but it needs at least {least_classes}")
        self.classes, self.legacy, self.seed, self.positive = classes, legacy, seed, positive or {}
        for name, value in self.positive.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{type(self).__name__}: {name} is {value}, but it must be positive")

    def get_config(self):
        return (
            super().get_config() | {"classes": self.classes, "legacy": self.legacy, "seed": self.seed} | self.positive
        )

    def build(self, embedding_shape, label_shape=None):
        start = keras.initializers.GlorotUniform(self.seed)
        self.kernel = self.add_weight(name="kernel", shape=(embedding_shape[-1], self.classes), initializer=start)

    def call(self, embedding, label=None, training=False):
        """Logits, (n, classes) float32, of embedding : (n, d) and label : (n,) whole numbers from 0.

        Raises ValueError if the labels are no vector, tf.errors.InvalidArgumentError if one is out of range.
        """
        if label is None:
            return self.logits(embedding, None, training)
        if len(label.shape) != 1:
            raise ValueError(f"{type(self).__name__}: labels of shape {tuple(label.shape)}, but it must be (n,)")
        message = f"a label is out of range: {type(self).__name__} has the classes 0 to {self.classes - 1}"
        tf.debugging.assert_non_negative(label, message)
        tf.debugging.assert_less(label, ops.cast(self.classes, label.dtype), message)
        return self.logits(embedding, ops.one_hot(label, self.classes, dtype="bool"), training)

    def cosines(self, embedding):
        """Cosines between embeddings and the weights of the classes, (n, classes)."""
        x, weights = unit(embedding, None if self.legacy else -1), unit(self.kernel, None if self.legacy else 0)
        return ops.clip(ops.matmul(x, weights), -1.0, 1.0)


@register
class Softmax(Head):
    """Plain softmax: W x + b."""

    def build(self, embedding_shape, label_shape=None):
        super().build(embedding_shape)
        self.bias = self.add_weight(name="bias", shape=(self.classes,), initializer="zeros")

    def logits(self, embedding, right, training):
        return ops.matmul(embedding, self.kernel) + self.bias


@register
class L2Softmax(Softmax):
    """L2-constrained softmax: W f + b with f = alpha x / ||x||.

    Source: Ranjan, Castillo, Chellappa 2017, https://arxiv.org/abs/1703.09507
    """

    def __init__(self, classes, alpha=16.0, **kwargs):
        super().__init__(classes, positive={"alpha": alpha}, **kwargs)
        self.alpha = alpha

    def logits(self, embedding, right, training):
        return super().logits(self.alpha * unit(embedding, None if self.legacy else -1), right, training)


class MarginHead(Head):
    """Cosines times a scale, after the cosine of the right class was made smaller by a margin.

    A margin of 0 leaves a plain cosine softmax; ValueError if it is negative.
    """

    def __init__(self, classes, scale, margin, **kwargs):
        super().__init__(classes, positive={"scale": scale}, **kwargs)
        if not 0 <= margin < math.inf:
            raise ValueError(f"{type(self).__name__}: margin is {margin}, but it must not be negative")
        self.scale, self.margin = scale, margin

    def get_config(self):
        return super().get_config() | {"margin": self.margin}

    def logits(self, embedding, right, training):
        cosine = self.cosines(embedding)
        if right is not None:
            cosine = ops.where(right, self.with_margin(cosine), cosine)
        return self.scale * cosine


@register
class CosFace(MarginHead):
    """s (cos theta - m) for the right class, s cos theta for the others.

    Source: Wang et al. 2018, https://arxiv.org/abs/1801.09414
    """

    def with_margin(self, cosine):
        return cosine - self.margin


@register
class ArcFace(MarginHead):
    """s cos(theta + m) for the right class, s cos theta for the others.

    Beyond theta = pi - m the cosine would rise again; there the authors' code goes on with
    cos theta - m sin m, which falls all the way to pi.
    Source: Deng et al. 2019, https://arxiv.org/abs/1801.07698
    """

    def __init__(self, classes, scale, margin, **kwargs):
        super().__init__(classes, scale, margin, **kwargs)
        if margin >= math.pi / 2:  # larger ones make the logit jump up at pi - m
            raise ValueError(f"ArcFace: margin is {margin}, but it must be below pi / 2")

    def with_margin(self, cosine):
        sine = ops.sqrt(ops.maximum(1.0 - ops.square(cosine), SMALLEST_SQUARED_SINE))
        moved = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine < math.cos(math.pi - self.margin)
        return ops.where(beyond, cosine - self.margin * math.sin(self.margin), moved)


@register
class AdaCos(Head):
    """s cos theta, without a margin; s = sqrt(2) ln(classes - 1), or set anew at each training step.

    The dynamic scale s <- ln(B_avg) / cos(min(pi / 4, theta_med)) takes B_avg, the mean over the batch
    of the summed exp(s cos theta) of the wrong classes, and theta_med, the median angle to the right one.
    It is a weight that is saved but not trained.
    Source: Zhang et al. 2019, https://arxiv.org/abs/1905.00292
    """

    def __init__(self, classes, dynamic=False, **kwargs):
        super().__init__(classes, least_classes=3, **kwargs)  # ln(1) = 0 would be the scale of two
        self.dynamic = dynamic

    def get_config(self):
        return super().get_config() | {"dynamic": self.dynamic}

    def build(self, embedding_shape, label_shape=None):
        super().build(embedding_shape)
        start = keras.initializers.Constant(math.sqrt(2) * math.log(self.classes - 1))
        self.scale = self.add_weight(name="scale", shape=(), initializer=start, trainable=False)

    def logits(self, embedding, right, training):
        cosine = self.cosines(embedding)
        if self.dynamic and training and right is not None:
            self.scale.assign(self.next_scale(ops.stop_gradient(cosine), right))
        return self.scale * cosine

    def next_scale(self, cosine, right):
        """The scale that the paper sets from a batch's cosines, (n, classes), and right classes."""
        wrong_logits = ops.where(right, -math.inf, self.scale * cosine)
        log_b_avg = ops.logsumexp(wrong_logits) - ops.log(ops.cast(ops.shape(cosine)[0], "float32"))
        theta = ops.arccos(ops.max(ops.where(right, cosine, -1.0), axis=1))  # (n,)
        theta_med = ops.median(theta)
        return ops.maximum(log_b_avg / ops.cos(ops.minimum(math.pi / 4, theta_med)), SMALLEST_SCALE)
