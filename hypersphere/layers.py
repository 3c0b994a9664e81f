"""The unit norm and the L2 constraint, for any backend of Keras."""

import keras
from keras import ops

SMALLEST_SQUARED_NORM = 1e-6


def unit(x, axis=-1):
    """Divide each vector along `axis` by its norm, or by 0.001 where that is larger.

    So a vector of zeros stays zero, and the gradient there is bounded.
    """
    squared_norm = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squared_norm, SMALLEST_SQUARED_NORM))


@keras.saving.register_keras_serializable(package="hypersphere")
def l2_constrain(x, alpha):
    """Put each row on the sphere of radius alpha: (n, d) to (n, d), row norms alpha; rows near zero as in `unit`.

    A named, registered function, so that a `Lambda` layer around it loads with Keras's safe mode on.
    Source: Ranjan, Castillo, Chellappa 2017, https://arxiv.org/abs/1703.09507
    """
    return alpha * unit(x)
