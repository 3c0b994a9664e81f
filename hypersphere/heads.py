"""Heads: Keras layers that turn embeddings into logits, and what each does with the labels in training.

A head is called without labels. Where they count, for a margin or for AdaCos's next scale, `training_logits` derives
the logits to train with from those to predict with: a cosine is a logit divided by the scale. `MetricModel` does so in
`fit`. All of this runs on every backend of Keras. Plain softmax is `keras.layers.Dense`.
"""

import math

import keras
from keras import ops

from hypersphere.layers import unit

SMALLEST_SQUARED_SINE = 1e-6  # the derivative of a sine by its cosine is infinite at cos = +-1
SMALLEST_SCALE = 1e-3

register = keras.saving.register_keras_serializable(package="hypersphere")


class Head(keras.layers.Layer):
    """What the heads share: a kernel, and logits, (n, num_classes), of embeddings, (n, d), that training leaves alone.

    A head computes in float32 unless `dtype` says otherwise, under a policy of mixed precision too: a cosine near 1 has
    no digits left in bfloat16.
    """

    arguments = ("num_classes",)  # besides the kernel's, kept as attributes and saved
    num_centers = 1  # of each class: so many columns of the kernel, side by side

    def __init__(
        self, num_classes, kernel_initializer="glorot_uniform", kernel_regularizer=None, dtype="float32", **kwargs
    ):
        super().__init__(dtype=dtype, **kwargs)
        require(self, "num_classes", num_classes, num_classes >= 2, "at least 2")
        self.num_classes = num_classes
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def get_config(self):
        names = [*self.arguments, "kernel_initializer", "kernel_regularizer"]
        own = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}
        return super().get_config() | own

    def build(self, input_shape):
        options = {"initializer": self.kernel_initializer, "regularizer": self.kernel_regularizer}
        shape = (input_shape[-1], self.num_classes * self.num_centers)
        self.kernel = self.add_weight(name="kernel", shape=shape, **options)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)

    def cosines(self, embedding):
        """Cosines between embeddings, (n, d), of a norm above 0.001, and the kernel's columns, (n, columns)."""
        return ops.clip(ops.matmul(unit(embedding), unit(self.kernel, axis=0)), -1.0, 1.0)

    def training_logits(self, logits, right):
        """The logits to train with, (n, num_classes), from those to predict with.

        right : (n, num_classes) bool, True at each row's label. A dynamic scale moves with each call: call it in
        training alone.
        """
        return logits


@register
class L2Softmax(Head):
    """L2-constrained softmax: W f + b with f = alpha x / ||x||.

    Source: Ranjan, Castillo, Chellappa 2017, https://arxiv.org/abs/1703.09507
    """

    arguments = ("num_classes", "alpha")

    def __init__(self, num_classes, alpha=16.0, **kwargs):
        super().__init__(num_classes, **kwargs)
        require(self, "alpha", alpha, 0 < alpha < math.inf, "a positive number")
        self.alpha = alpha

    def build(self, input_shape):
        super().build(input_shape)
        self.bias = self.add_weight(name="bias", shape=(self.num_classes,), initializer="zeros")

    def call(self, embedding):
        return ops.matmul(self.alpha * unit(embedding), self.kernel) + self.bias


class MarginHead(Head):
    """Cosines times a scale; in training, the right class's cosine is made smaller by a margin, which may be 0."""

    arguments = ("num_classes", "scale", "margin")

    def __init__(self, num_classes, scale=30.0, margin=0.35, **kwargs):
        super().__init__(num_classes, **kwargs)
        require(self, "scale", scale, 0 < scale < math.inf, "a positive number")
        require(self, "margin", margin, 0 <= margin < math.inf, "a number of at least 0")
        self.scale, self.margin = scale, margin

    def call(self, embedding):
        return self.scale * self.cosines(embedding)

    def training_logits(self, logits, right):
        return ops.where(right, self.scale * self.with_margin(logits / self.scale), logits)

    def with_margin(self, cosine):
        """Cosines, (n, num_classes), as they are made smaller where their class is the right one."""
        raise NotImplementedError


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

    Beyond theta = pi - m the cosine would rise again; there the authors' code takes cos theta - m sin m, which is
    lower, and falls all the way to pi.
    Source: Deng et al. 2019, https://arxiv.org/abs/1801.07698
    """

    def __init__(self, num_classes, scale=30.0, margin=0.5, **kwargs):
        super().__init__(num_classes, scale, margin, **kwargs)
        require(self, "margin", margin, margin < math.pi / 2, "below pi / 2")  # there 0 is a right angle

    def with_margin(self, cosine):
        sine = ops.sqrt(ops.maximum(1.0 - ops.square(cosine), SMALLEST_SQUARED_SINE))
        moved = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine < math.cos(math.pi - self.margin)
        return ops.where(beyond, cosine - self.margin * math.sin(self.margin), moved)


@register
class AdaCos(Head):
    """s cos theta without a margin; s = sqrt(2) ln(num_classes - 1), or set anew at each training step.

    The dynamic scale s <- ln(B_avg) / cos(min(pi / 4, theta_med)) takes B_avg, the mean over the batch of the summed
    exp(s cos theta) of the wrong classes, and theta_med, the median angle to the right one. It is a weight that is
    saved but not trained.

    The fixed scale is its upper bound. The paper expects wrong classes at right angles; B_avg is then num_classes - 1,
    and s is at most the fixed scale. Where the embedding has too few dimensions for that, B_avg grows with s and s with
    B_avg, without end. A step whose logits are not finite leaves the scale as it is.
    Source: Zhang et al. 2019, https://arxiv.org/abs/1905.00292
    """

    arguments = ("num_classes", "dynamic")

    def __init__(self, num_classes, dynamic=False, **kwargs):
        super().__init__(num_classes, **kwargs)
        require(self, "num_classes", num_classes, num_classes >= 3, "at least 3")  # of two, ln(1) = 0
        self.dynamic = dynamic
        self.scale = self.fixed_scale = math.sqrt(2) * math.log(num_classes - 1)

    def build(self, input_shape):
        super().build(input_shape)
        if self.dynamic:
            start = keras.initializers.Constant(self.fixed_scale)
            self.scale = self.add_weight(name="scale", shape=(), initializer=start, trainable=False, aggregation="mean")

    def call(self, embedding):
        return self.current_scale() * self.cosines(embedding)

    def current_scale(self):
        """The scale as it is now: a copy, since PyTorch must not find another value when it derives."""
        return ops.copy(ops.cast(self.scale, self.compute_dtype)) if self.dynamic else self.scale

    def training_logits(self, logits, right):
        if not self.dynamic:
            return logits
        cosine = logits / self.current_scale()
        self.scale.assign(self.next_scale(ops.stop_gradient(logits), ops.stop_gradient(cosine), right))
        return self.current_scale() * cosine

    def next_scale(self, logits, cosine, right):
        """The paper's scale, bounded, from a batch's logits, cosines and right classes, (n, num_classes) each."""
        wrong_logits = ops.where(right, -math.inf, logits)
        log_b_avg = ops.logsumexp(wrong_logits) - ops.log(ops.cast(ops.shape(logits)[0], logits.dtype))
        theta = ops.arccos(ops.clip(ops.max(ops.where(right, cosine, -1.0), axis=1), -1.0, 1.0))  # (n,)
        scale = log_b_avg / ops.cos(ops.minimum(math.pi / 4, ops.median(theta)))
        bounded = ops.clip(scale, SMALLEST_SCALE, self.fixed_scale)
        return ops.where(ops.isfinite(scale), bounded, self.current_scale())


@register
class SubClusterAdaCos(Head):
    """AdaCos's fixed scale with several centres a class: the logarithm of the sum of exp(s cos theta) over them.

    s = sqrt(2) ln(num_classes num_centers - 1). The softmax of these logits gives a class the probabilities of its
    centres, added.
    Source: Wilkinghoff 2021, https://doi.org/10.1109/IJCNN52387.2021.9534290
    """

    arguments = ("num_classes", "num_centers")

    def __init__(self, num_classes, num_centers=16, **kwargs):
        super().__init__(num_classes, **kwargs)
        columns = num_classes * num_centers
        require(self, "num_centers", num_centers, num_centers >= 1, "at least 1")
        require(self, "num_classes * num_centers", columns, columns >= 3, "at least 3")
        self.num_centers, self.scale = num_centers, math.sqrt(2) * math.log(columns - 1)

    def call(self, embedding):
        cosine = ops.reshape(self.cosines(embedding), (-1, self.num_classes, self.num_centers))
        return ops.logsumexp(self.scale * cosine, axis=-1)


def require(head, name, value, fits, needed):
    """Raise ValueError, with the argument's name and what is needed, unless its value fits."""
    if not fits:
        raise ValueError(f"{type(head).__name__}: {name} is {value}; it must be {needed}")
