"""The heads against an independent computation in NumPy, their gradients, errors and saved files."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from hypersphere import heads

CLASSES, WIDTH = 5, 4
ALL = {
    "softmax": lambda **more: heads.Softmax(CLASSES, **more),
    "l2softmax": lambda **more: heads.L2Softmax(CLASSES, alpha=5.0, **more),
    "cosface": lambda **more: heads.CosFace(CLASSES, scale=30.0, margin=0.35, **more),
    "arcface": lambda **more: heads.ArcFace(CLASSES, scale=30.0, margin=0.5, **more),
    "adacos": lambda **more: heads.AdaCos(CLASSES, **more),
    "adacos-dynamic": lambda **more: heads.AdaCos(CLASSES, dynamic=True, **more),
}
COSINE = ["cosface", "arcface", "adacos", "adacos-dynamic"]


def at_angles(head, angles, label=None, **arguments):
    """Logits of a head with two of its classes at angle 0 and 90 degrees, of embeddings at these angles."""
    embedding = 7 * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    head.build((None, 2))
    kernel = np.zeros((2, head.classes), np.float32)
    kernel[:, 0], kernel[:, 1], kernel[:, 2:] = [3, 0], [0, 0.2], [[-1], [-1]]
    head.kernel.assign(kernel)
    label = None if label is None else np.array(label)
    return keras.ops.convert_to_numpy(head(embedding, label, **arguments))


def numpy_cosines(x, kernel):
    """Cosines, one pair of vectors at a time, in double precision."""
    cosine = [[np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)) for b in kernel.T] for a in x]
    return np.array(cosine)


def random_case(head, n=9):
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(n, WIDTH)).astype(np.float32), rng.integers(0, CLASSES, n)
    head.build((None, WIDTH))
    return x, label, keras.ops.convert_to_numpy(head.kernel).astype(np.float64)


ANGLES = np.radians([0, 20, 60, 90, 120, 150, 155, 170, 180])


def test_softmax_and_l2_softmax_are_their_formulas():
    for head, length in [(ALL["softmax"](), None), (ALL["l2softmax"](), 5.0)]:
        x, label, kernel = random_case(head)
        head.bias.assign([1, 2, 3, 4, 5])
        f = x if length is None else np.array([length * row / math.sqrt(sum(row**2)) for row in x])
        np.testing.assert_allclose(head(x, label), f @ kernel + [1, 2, 3, 4, 5], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(head(x, label), head(x))


def test_cosface_lowers_the_right_cosine_by_its_margin():
    logits = at_angles(ALL["cosface"](), ANGLES, [0] * 9)
    np.testing.assert_allclose(logits[:, 0], 30 * (np.cos(ANGLES) - 0.35), atol=1e-4)
    np.testing.assert_allclose(logits[:, 1], 30 * np.sin(ANGLES), atol=1e-4)


def test_arcface_adds_its_margin_to_the_right_angle_and_never_rises():
    logits = at_angles(ALL["arcface"](), ANGLES, [0] * 9)
    expected = [
        math.cos(angle + 0.5) if angle <= math.pi - 0.5 else math.cos(angle) - 0.5 * math.sin(0.5) for angle in ANGLES
    ]
    # The bounded sine costs up to 30 * 0.001 * sin(0.5) at 0 and 180 degrees, and nothing elsewhere.
    np.testing.assert_allclose(logits[:, 0], 30 * np.array(expected), atol=0.02)
    np.testing.assert_allclose(logits[1:-1, 0], 30 * np.array(expected)[1:-1], atol=1e-4)
    np.testing.assert_allclose(logits[:, 1], 30 * np.sin(ANGLES), atol=1e-4)
    fine = at_angles(ALL["arcface"](), np.linspace(0, math.pi, 400), [0] * 400)[:, 0]
    assert np.all(np.diff(fine) < 1e-4)


def test_a_margin_needs_a_label():
    for name in ["cosface", "arcface"]:
        np.testing.assert_allclose(at_angles(ALL[name](), ANGLES)[:, 0], 30 * np.cos(ANGLES), atol=1e-4)


@pytest.mark.parametrize("name", COSINE)
def test_cosine_heads_see_directions_alone(name):
    head = ALL[name]()
    x, _, kernel = random_case(head)
    scale = float(head.scale)
    np.testing.assert_allclose(head(x) / scale, numpy_cosines(x, kernel), atol=1e-5)
    lengths = np.geomspace(0.1, 50, len(x))[:, np.newaxis].astype(np.float32)
    np.testing.assert_allclose(head(x * lengths), head(x), rtol=1e-4, atol=1e-4)
    head.kernel.assign(head.kernel * [0.1, 1, 2, 30, 4])
    np.testing.assert_allclose(head(x) / scale, numpy_cosines(x, kernel), atol=1e-5)


def test_adacos_starts_at_the_papers_scale():
    for dynamic in [False, True]:
        head = heads.AdaCos(9, dynamic=dynamic)
        head.build((None, WIDTH))
        assert float(head.scale) == pytest.approx(math.sqrt(2) * math.log(8), rel=1e-6)
        assert len(head.trainable_weights) == 1, "the scale is no trained weight"


def test_dynamic_adacos_sets_its_scale_as_in_the_paper():
    head = ALL["adacos-dynamic"]()
    x, label, kernel = random_case(head)
    cosine, scale = numpy_cosines(x, kernel), math.sqrt(2) * math.log(CLASSES - 1)
    for _ in range(3):
        sums = [
            sum(math.exp(scale * c) for j, c in enumerate(row) if j != y) for row, y in zip(cosine, label, strict=True)
        ]
        theta = sorted(math.acos(row[y]) for row, y in zip(cosine, label, strict=True))
        scale = math.log(sum(sums) / len(sums)) / math.cos(min(math.pi / 4, theta[len(theta) // 2]))
        logits = head(x, label, training=True)
        assert float(head.scale) == pytest.approx(scale, rel=1e-4)
        np.testing.assert_allclose(logits, scale * cosine, rtol=1e-3, atol=1e-4)
    head(x, label)
    head(x, training=True)
    assert float(head.scale) == pytest.approx(scale, rel=1e-4), "moves in training alone, with labels"


def test_dynamic_adacos_keeps_a_positive_scale():
    head = heads.AdaCos(3, dynamic=True)
    at_angles(head, np.radians([225.0]))
    head.scale.assign(10)
    # Both wrong cosines are -0.7: B_avg = 2 exp(-7) is below 1, and its logarithm is no scale.
    head(-np.ones((2, 2), np.float32), np.array([2, 2]), training=True)
    assert float(head.scale) == pytest.approx(heads.SMALLEST_SCALE)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_finite_differences(name):
    head = ALL[name](dtype="float64")
    x, label, _ = random_case(head)
    x = x.astype(np.float64)

    def loss(x):
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(label, head(x, label)))

    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        value = loss(variable)
    gradient = tape.gradient(value, variable).numpy()
    for row, column in [(0, 0), (3, 2), (8, 3)]:
        step = np.zeros_like(x)
        step[row, column] = 1e-5
        difference = (float(loss(x + step)) - float(loss(x - step))) / 2e-5
        assert gradient[row, column] == pytest.approx(difference, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_gradients_stay_finite_where_the_cosine_is_one(name, angle):
    head = ALL[name]()
    at_angles(head, np.array([angle]))
    embedding = tf.Variable([[math.cos(angle), 0.0]])
    with tf.GradientTape() as tape:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits([0], head(embedding, np.array([0]), training=True))
    gradients = tape.gradient(loss, [embedding, head.kernel])
    assert all(np.isfinite(gradient).all() and np.abs(gradient).max() < 1e5 for gradient in gradients)
    assert np.isfinite(head(np.zeros((1, 2), np.float32), np.array([0]))).all(), "an embedding of zeros"


@pytest.mark.parametrize("name", ALL)
def test_mixed_precision_computes_in_float32(name):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = ALL[name]()
        x, label, _ = random_case(head)
        coarse = tf.cast(x, "bfloat16")
        logits = head(coarse, label, training=True)
        assert logits.dtype == head.kernel.dtype == "float32"
        np.testing.assert_allclose(head(coarse), head(tf.cast(coarse, "float32")), rtol=1e-6)
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_with_safe_mode(name, tmp_path):
    head = ALL[name](legacy=name == "arcface", seed=3)
    x, label, _ = random_case(head)
    head(x, label, training=True)  # which moves the dynamic scale
    image = keras.Input((WIDTH,))
    keras.Model(image, head(image)).save(tmp_path / "n.keras")
    network = keras.saving.load_model(tmp_path / "n.keras", safe_mode=True)
    loaded = network.layers[-1]
    assert type(loaded) is type(head) and loaded.get_config() == head.get_config()
    for arguments in [{}, {"training": True}]:
        np.testing.assert_allclose(loaded(x, label, **arguments), head(x, label, **arguments), rtol=1e-5, atol=1e-5)
    if name == "adacos-dynamic":
        assert float(loaded.scale) == float(head.scale) != pytest.approx(math.sqrt(2) * math.log(CLASSES - 1), rel=1e-3)


def test_legacy_divides_by_the_norm_of_the_whole_batch_and_kernel():
    head = heads.CosFace(CLASSES, scale=1.0, margin=0.1, legacy=True)
    x, _, kernel = random_case(head)
    expected = (x / math.sqrt((x**2).sum())) @ (kernel / math.sqrt((kernel**2).sum()))
    np.testing.assert_allclose(head(x), expected, atol=1e-6)
    head = heads.L2Softmax(CLASSES, alpha=5.0, legacy=True)
    x, _, kernel = random_case(head)
    np.testing.assert_allclose(head(x), 5 * x / math.sqrt((x**2).sum()) @ kernel, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: heads.AdaCos(2), "AdaCos: 2 classes, but it needs at least 3"),
        (lambda: heads.ArcFace(9, scale=30, margin=-0.1), "ArcFace: margin is -0.1, but it must not be negative"),
        (lambda: heads.ArcFace(9, scale=30, margin=1.6), "ArcFace: margin is 1.6, but it must be below pi / 2"),
        (lambda: heads.CosFace(9, scale=-1, margin=0.1), "CosFace: scale is -1, but it must be positive"),
        (lambda: heads.L2Softmax(9, alpha=float("nan")), "L2Softmax: alpha is nan, but it must be positive"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("label", [-1, CLASSES])
@pytest.mark.parametrize("name", ALL)
def test_a_label_out_of_range_is_an_error(name, label):
    head = ALL[name]()
    x, labels, _ = random_case(head)
    labels[3] = label
    for call in [head, tf.function(head)]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"label is out of range: .* classes 0 to 4"):
            call(tf.constant(x), tf.constant(labels))


def test_labels_must_be_a_vector():
    head = ALL["arcface"]()
    x, label, _ = random_case(head)
    with pytest.raises(ValueError, match=r"ArcFace: labels of shape \(9, 1\), but it must be \(n,\)"):
        head(x, label[:, np.newaxis])
