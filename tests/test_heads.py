"""The heads against an independent computation in NumPy, on whichever backend Keras runs."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from conftest import dtype_policy
from hypersphere import heads

CLASSES, WIDTH = 5, 4
ALL = {
    "l2softmax": lambda **more: heads.L2Softmax(CLASSES, alpha=5.0, **more),
    "cosface": lambda **more: heads.CosFace(CLASSES, scale=30.0, margin=0.35, **more),
    "arcface": lambda **more: heads.ArcFace(CLASSES, scale=30.0, margin=0.5, **more),
    "adacos": lambda **more: heads.AdaCos(CLASSES, **more),
    "adacos-dynamic": lambda **more: heads.AdaCos(CLASSES, dynamic=True, **more),
    "subcluster": lambda **more: heads.SubClusterAdaCos(CLASSES, num_centers=3, **more),
}
ANGLES = np.radians([0, 20, 60, 90, 120, 150, 155, 170, 180])


def one_hot(label):
    return np.arange(CLASSES) == np.reshape(label, (-1, 1))


def predicting(head, x):
    return ops.convert_to_numpy(head(x))


def training(head, x, label):
    return ops.convert_to_numpy(head.training_logits(head(x), one_hot(label)))


def on_a_plane(head, angles):
    """Embeddings at these angles, for a head with two of its classes at 0 and 90 degrees."""
    if not head.built:
        head.build((None, 2))
    kernel = np.zeros((2, CLASSES), np.float32)
    kernel[:, 0], kernel[:, 1], kernel[:, 2:] = [3, 0], [0, 0.2], [[-1], [-1]]
    head.kernel.assign(kernel)
    return 7 * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def numpy_cosines(x, kernel):
    """Cosines, one pair of vectors at a time, in double precision."""
    return np.array([[np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)) for b in kernel.T] for a in x])


def random_case(head, n=9, width=WIDTH):
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(n, width)).astype(np.float32), rng.integers(0, CLASSES, n)
    head.build((None, width))
    head.kernel.assign(rng.normal(size=head.kernel.shape))
    return x, label, ops.convert_to_numpy(head.kernel).astype(np.float64)


def test_l2_softmax_is_its_formula():
    head = ALL["l2softmax"]()
    x, label, kernel = random_case(head)
    head.bias.assign([1, 2, 3, 4, 5])
    f = np.array([5 * row / math.sqrt(sum(row**2)) for row in x])
    np.testing.assert_allclose(predicting(head, x), f @ kernel + [1, 2, 3, 4, 5], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(training(head, x, label), predicting(head, x))


def test_cosface_lowers_the_right_cosine_by_its_margin():
    head = ALL["cosface"]()
    logits = training(head, on_a_plane(head, ANGLES), [0] * 9)
    np.testing.assert_allclose(logits[:, 0], 30 * (np.cos(ANGLES) - 0.35), atol=1e-4)
    np.testing.assert_allclose(logits[:, 1], 30 * np.sin(ANGLES), atol=1e-4)


def test_arcface_adds_its_margin_to_the_right_angle_and_never_rises():
    head = ALL["arcface"]()
    logits = training(head, on_a_plane(head, ANGLES), [0] * 9)
    beyond = np.cos(ANGLES) - 0.5 * math.sin(0.5)
    expected = 30 * np.where(math.pi - 0.5 < ANGLES, beyond, np.cos(ANGLES + 0.5))
    # The bounded sine costs up to 30 * 0.001 * sin(0.5) at 0 and 180 degrees, and nothing elsewhere.
    np.testing.assert_allclose(logits[:, 0], expected, atol=0.02)
    np.testing.assert_allclose(logits[1:-1, 0], expected[1:-1], atol=1e-4)
    np.testing.assert_allclose(logits[:, 1], 30 * np.sin(ANGLES), atol=1e-4)
    fine = training(head, on_a_plane(head, np.linspace(0, math.pi, 400)), [0] * 400)[:, 0]
    assert np.all(np.diff(fine) < 1e-4)


@pytest.mark.parametrize("name", ["cosface", "arcface", "adacos", "adacos-dynamic"])
def test_cosine_heads_see_directions_alone(name):
    head = ALL[name]()
    x, _, kernel = random_case(head)
    scale = 30 if name in ["cosface", "arcface"] else math.sqrt(2) * math.log(CLASSES - 1)
    assert float(head.scale) == pytest.approx(scale) and len(head.trainable_weights) == 1
    np.testing.assert_allclose(predicting(head, x) / scale, numpy_cosines(x, kernel), atol=1e-5)
    lengths = np.geomspace(0.1, 50, len(x))[:, np.newaxis].astype(np.float32)
    np.testing.assert_allclose(predicting(head, x * lengths), predicting(head, x), rtol=1e-4, atol=1e-4)
    head.kernel.assign(kernel * [0.1, 1, 2, 30, 4])
    np.testing.assert_allclose(predicting(head, x) / scale, numpy_cosines(x, kernel), atol=1e-5)


def test_subcluster_adacos_adds_its_centres_probabilities():
    head = ALL["subcluster"]()
    x, _, kernel = random_case(head)
    scale = math.sqrt(2) * math.log(CLASSES * 3 - 1)
    each = np.exp(scale * numpy_cosines(x, kernel))  # (n, classes * centres)
    together = each.reshape(-1, CLASSES, 3).sum(axis=2)
    logits = predicting(head, x).astype(np.float64)
    np.testing.assert_allclose(logits, np.log(together), rtol=1e-4)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax, together / each.sum(axis=1, keepdims=True), rtol=1e-3)


@pytest.mark.parametrize(("right", "wrong"), [(10, 0), (8, -8)])  # below 45 degrees, and above: the scale is cut there
def test_dynamic_adacos_sets_its_scale_as_in_the_paper(right, wrong):
    head = ALL["adacos-dynamic"]()
    x, label, kernel = random_case(head, width=64)
    x += (np.where(one_hot(label), right, wrong) @ kernel.T).astype(np.float32)  # where the scale is below its bound
    cosine, scale = numpy_cosines(x, kernel), math.sqrt(2) * math.log(CLASSES - 1)
    for _ in range(3):
        b_avg = np.where(one_hot(label), 0, np.exp(scale * cosine)).sum(axis=1).mean()
        theta = np.median(np.arccos(cosine[one_hot(label)]))
        assert (theta > math.pi / 4) == (wrong < 0)
        scale = math.log(b_avg) / math.cos(min(math.pi / 4, theta))
        assert scale < math.sqrt(2) * math.log(CLASSES - 1)
        logits = training(head, x, label)
        assert float(head.scale) == pytest.approx(scale, rel=1e-4)
        np.testing.assert_allclose(logits, scale * cosine, rtol=1e-3, atol=1e-4)
    predicting(head, x)
    assert float(head.scale) == pytest.approx(scale, rel=1e-4), "moves in training alone"


@pytest.mark.parametrize("width", [2, 3, 4, 8, 64])
def test_the_dynamic_scale_stays_within_its_bounds(width):
    head = heads.AdaCos(CLASSES, dynamic=True)
    x, label, _ = random_case(head, n=128, width=width)
    for _ in range(100):
        assert np.isfinite(training(head, x, label)).all()
        assert heads.SMALLEST_SCALE <= float(head.scale) <= math.sqrt(2) * math.log(CLASSES - 1) * (1 + 1e-6)


def test_dynamic_adacos_keeps_a_positive_scale():
    head = heads.AdaCos(3, dynamic=True)
    head.build((None, 2))
    head.kernel.assign([[1, 0, -1], [0, 1, -1]])
    head.scale.assign(10)  # both wrong cosines are -0.7: B_avg = 2 exp(-7) is below 1, and its logarithm is no scale
    head.training_logits(head(-np.ones((2, 2), np.float32)), np.array([[False, False, True]] * 2))
    assert float(head.scale) == pytest.approx(heads.SMALLEST_SCALE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_leave_the_scale(value):
    head = ALL["adacos-dynamic"]()
    x, label, _ = random_case(head)
    x[0] = value
    training(head, x, label)
    assert float(head.scale) == pytest.approx(head.fixed_scale)


@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_other_number_formats_come_close(name, dtype):
    head, coarse = ALL[name](), ALL[name](dtype=dtype)
    x, label, kernel = random_case(head)
    random_case(coarse)
    coarse.kernel.assign(kernel)
    logits, expected = training(coarse, x, label), training(head, x, label)
    tolerance = 2**-5 if "16" in dtype else 1e-5  # bfloat16 has 8 bits
    np.testing.assert_allclose(logits.astype(np.float32), expected, atol=tolerance * np.abs(expected).max())
    assert np.isfinite(float(getattr(coarse, "scale", 0)))


@pytest.mark.parametrize("name", ALL)
def test_a_policy_of_mixed_precision_leaves_heads_in_float32(name):
    with dtype_policy("mixed_bfloat16"):
        head = ALL[name]()
        coarse = ops.cast(random_case(head)[0], "bfloat16")
        assert keras.backend.standardize_dtype(head(coarse).dtype) == head.kernel.dtype == "float32"
        np.testing.assert_allclose(predicting(head, coarse), predicting(head, ops.cast(coarse, "float32")), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: heads.AdaCos(2), "AdaCos: num_classes is 2"),
        (lambda: heads.CosFace(1), "CosFace: num_classes is 1; it must be at least 2"),
        (lambda: heads.ArcFace(9, margin=-0.1), "ArcFace: margin is -0.1; it must be a number of at least 0"),
        (lambda: heads.ArcFace(9, margin=1.6), "ArcFace: margin is 1.6; it must be below pi / 2"),
        (lambda: heads.CosFace(9, scale=-1), "CosFace: scale is -1; it must be a positive number"),
        (lambda: heads.L2Softmax(9, alpha=float("nan")), "L2Softmax: alpha is nan; it must be a positive number"),
        (lambda: heads.SubClusterAdaCos(9, num_centers=0), "num_centers is 0; it must be at least 1"),
        (lambda: heads.SubClusterAdaCos(2, num_centers=1), r"num_classes \* num_centers is 2; it must be at least 3"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
