"""Article 2's experiment: its protocol, its networks and its trials, on small draws."""

from argparse import Namespace

import keras
import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor

from conftest import run, write_cifar10
from experiments import building, draws, heads
from hypersphere import datasets, scores
from hypersphere.errors import InputError

SNEAKER_BOOT = ("fashion-mnist", 7, 9)
DIRECTION_SCORERS = {"cosine", "lof5", "lof20"}


def args_of(**flags):
    defaults = {"dataset": "fashion-mnist", "normal": None, "anomaly": None, "heads": ["arcface"], "seeds": 1}
    defaults |= {"backbone": "cnn", "use": None, "width": None, "size": None, "weights": None, "epochs": None}
    defaults |= {
        "references": "eight",
        "views": None,
        "split": "train",
        "without": None,
        "legacy": False,
        "precision": "float32",
    }
    return Namespace(**defaults | {"smoke": True, "data": None} | flags)


def original_labels(images, x, y):
    """The data set's own labels of some images, found by their pixels."""
    label_of = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    return np.array([label_of[image.tobytes()] for image in images])


def test_a_draw_follows_the_protocol():
    x, y = datasets.load_labelled("fashion-mnist", "train")
    x_test, y_test = datasets.load_labelled("fashion-mnist", "t10k")
    drawn = draws.draw(*SNEAKER_BOOT, seed=3, split="test")
    shapes = [drawn.x_train.shape, drawn.x_val.shape, drawn.x_normal.shape, drawn.x_anomaly.shape]
    assert shapes == [(n, 28, 28, 1) for n in [9000, 1800, 1000, 1000]]
    labels = original_labels(drawn.x_train, x, y)
    assert 9 not in labels and 9 not in original_labels(drawn.x_val, x, y)
    np.testing.assert_array_equal(labels, np.array([0, 1, 2, 3, 4, 5, 6, 8, 7])[drawn.y_train])
    np.testing.assert_array_equal(np.bincount(drawn.y_train), [1000] * 9)
    np.testing.assert_array_equal(drawn.is_normal, labels == 7)
    assert set(original_labels(drawn.x_normal, x_test, y_test)) == {7}
    assert set(original_labels(drawn.x_anomaly, x_test, y_test)) == {9}
    used = {image.tobytes() for image in drawn.x_train}
    assert not any(image.tobytes() in used for image in drawn.x_val)


def test_new_images_of_the_training_split_are_others_and_drawn_anew():
    x, y = datasets.load_labelled("fashion-mnist", "train")
    first, second, of_test = (
        draws.draw(*SNEAKER_BOOT, seed, split=split) for seed, split in [(3, "train"), (4, "train"), (3, "test")]
    )
    np.testing.assert_array_equal(first.x_train, of_test.x_train)
    assert first.x_normal.shape == first.x_anomaly.shape == (1000, 28, 28, 1)
    assert set(original_labels(first.x_normal, x, y)) == {7} and set(original_labels(first.x_anomaly, x, y)) == {9}
    rows = {image.tobytes(): row for row, image in enumerate(x)}
    of_draw = [{rows[image.tobytes()] for image in of} for of in [first.x_train, first.x_val, first.x_normal]]
    assert not of_draw[2] & (of_draw[0] | of_draw[1])
    assert not np.array_equal(first.x_normal, second.x_normal)
    assert not np.array_equal(first.x_anomaly, second.x_anomaly)


def test_a_class_can_be_left_out_altogether():
    x, y = datasets.load_labelled("fashion-mnist", "train")
    drawn = draws.draw("fashion-mnist", 7, 5, 0, without=9, smoke=True)  # the sandal plays the anomaly
    assert drawn.n_classes == 8
    for of_set in [drawn.x_train, drawn.x_val, drawn.x_normal, drawn.x_anomaly]:
        assert 9 not in original_labels(of_set, x, y)


def test_without_references_the_views_are_the_classes():
    drawn = draws.draw(*SNEAKER_BOOT, 0, smoke=True)
    alone = draws.in_views(draws.normal_alone(drawn), 8)
    normal = drawn.x_train[drawn.is_normal]
    np.testing.assert_array_equal(alone.x_train[: len(normal)], normal)
    np.testing.assert_array_equal(alone.x_train[alone.y_train == 1], np.rot90(normal, axes=(1, 2)))
    np.testing.assert_array_equal(alone.x_train[alone.y_train == 4], normal[:, :, ::-1])
    assert alone.n_classes == 8 and len({view.tobytes() for view in alone.x_train[:: len(normal)]}) == 8
    np.testing.assert_array_equal(np.bincount(alone.y_val), [60] * 8)


def test_turns_of_each_class_are_classes_of_their_own():
    drawn = draws.draw(*SNEAKER_BOOT, 0, smoke=True)
    turned = draws.in_views(drawn, 4)
    assert turned.n_classes == 36 and turned.is_normal.sum() == 4 * drawn.is_normal.sum()
    second = turned.x_train[turned.y_train == 9 + 3]
    np.testing.assert_array_equal(second, np.rot90(drawn.x_train[drawn.y_train == 3], axes=(1, 2)))
    np.testing.assert_array_equal(turned.x_normal, drawn.x_normal)


def test_scores_of_several_views_are_added():
    rng = np.random.default_rng(0)
    of_views = [[scores.directions(rng.normal(m, 1, (50, 8))) for m in [1, 1, 0.5]] for _ in range(2)]
    normal, anomaly = (
        sum(scores.cosine_score(of_view[0], of_view[number]) for of_view in of_views) for number in [1, 2]
    )
    assert heads.auroc_by_scorer(*of_views)["cosine"] == scores.auroc(normal, anomaly)


def test_a_draw_is_decided_by_its_seed():
    first, second = (draws.draw(*SNEAKER_BOOT, seed, smoke=True) for seed in [0, 1])
    assert not np.array_equal(first.x_train, second.x_train)
    draws.draw.cache_clear()
    np.testing.assert_array_equal(first.x_train, draws.draw(*SNEAKER_BOOT, 0, smoke=True).x_train)


@pytest.mark.parametrize("name", ["l2softmax", "arcface", "adacos"])
def test_legacy_heads_divide_by_the_norm_of_the_whole_batch_and_kernel(name):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(9, 4)), rng.normal(size=(4, 5))
    arguments = {"l2softmax": {"alpha": 5.0}, "arcface": {"scale": 1.0, "margin": 0.1}, "adacos": {}}[name]
    head = heads.head_of(name, arguments, 5, building.layer_seeds(0), legacy=True)
    head.build((None, 4))
    head.kernel.assign(kernel)
    expected = x / np.sqrt((x**2).sum()) @ kernel * (5 if name == "l2softmax" else 1)
    if name != "l2softmax":
        expected *= head.scale / np.sqrt((kernel**2).sum())
    np.testing.assert_allclose(head(x.astype("float32")), expected, atol=1e-5)


def test_legacy_labels_collide_as_in_the_published_code():
    plain, legacy = (draws.draw(*SNEAKER_BOOT, 0, legacy=legacy, smoke=True) for legacy in [False, True])
    np.testing.assert_array_equal(plain.x_train, legacy.x_train)
    shirt = heads.class_number("fashion-mnist", "shirt")
    assert set(legacy.y_train[legacy.is_normal]) == {shirt} == set(legacy.y_train[plain.y_train == shirt])
    np.testing.assert_array_equal(plain.y_train[~plain.is_normal], legacy.y_train[~plain.is_normal])


def test_the_articles_pairs_are_the_default(tmp_path):
    write_cifar10(tmp_path / datasets.CIFAR10_FOLDER, np.random.default_rng(0))
    for name in datasets.CIFAR10_FILES[:-1]:
        with pytest.raises(InputError, match=f"{name}: missing"):
            heads.choose_pairs(None, None, None, tmp_path)
        (tmp_path / datasets.CIFAR10_FOLDER / name).symlink_to("test_batch.bin")
    assert heads.choose_pairs(None, None, None, tmp_path) == {"fashion-mnist": (7, 9), "cifar10": (4, 7)}
    assert heads.choose_pairs("cifar10", None, None, tmp_path) == {"cifar10": (4, 7)}
    legacy = draws.draw("cifar10", 4, 7, 0, legacy=True, smoke=True, data=tmp_path)
    assert legacy.x_train.shape[1:] == (32, 32, 3)
    assert set(legacy.y_train[legacy.is_normal]) == {heads.class_number("cifar10", "cat")}


def test_without_cifar10_its_pair_is_left_out_or_an_error(monkeypatch, capsys):
    def no_network(folder):
        raise datasets.DownloadError("no network")

    monkeypatch.setattr(datasets, "find_cifar10", no_network)
    assert heads.choose_pairs(None, None, None, None) == {"fashion-mnist": (7, 9)}
    assert "no network; its pair is left out" in capsys.readouterr().out
    with pytest.raises(datasets.DownloadError):
        heads.choose_pairs("cifar10", "cat", "dog", None)


def test_classes_by_name_or_number():
    assert heads.choose_pairs("fashion-mnist", "Ankle Boot", "t-shirt/top", None) == {"fashion-mnist": (9, 0)}
    assert heads.choose_pairs("mnist", "4", "9", None) == {"mnist": (4, 9)}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"dataset": None, "normal": "7", "anomaly": "9"}, "need --dataset"),
        ({"normal": "boots", "anomaly": "9"}, "boots: no class of fashion-mnist; choose one of: 0 T-shirt"),
        ({"normal": "7", "anomaly": "10"}, "10: no class"),
        ({"normal": "7"}, "give both"),
        ({"normal": "7", "anomaly": "sneaker"}, "same class"),
        ({"dataset": "mnist"}, "give both"),
        ({"weights": "imagenet"}, "--backbone mobilenetv2"),
        ({"use": "frozen"}, "--backbone mobilenetv2"),
        ({"width": 1.0}, "--width: of MobileNetV2"),
        ({"backbone": "mobilenetv2", "weights": "no.h5"}, r"no\.h5: missing"),
        ({"backbone": "mobilenetv2", "use": "frozen", "references": "none"}, "give --use fine-tuned"),
        ({"references": "none", "views": 1}, "give 4 or 8"),
        ({"backbone": "mobilenetv2", "legacy": True}, "leave --backbone out"),
    ],
)
def test_wrong_flags_are_named(flags, words):
    with pytest.raises(InputError, match=words):
        heads.plan(args_of(**flags))


def test_the_plan_is_every_head_on_every_draw():
    trials = heads.plan(args_of(heads=list(heads.HEADS), seeds=3, smoke=False))
    assert len(trials) == 18 and "fashion_mnist-sneaker-ankle_boot/cnn/adacos-dynamic-seed2" in trials
    assert {settings["recipe"]["epochs"] for settings in trials.values()} == {12}
    assert all(name.split("/")[1] == "cnn-legacy" for name in heads.plan(args_of(legacy=True)))


def test_both_networks_share_their_weights_and_differ_by_the_margin():
    (settings,) = heads.plan(args_of()).values()
    training, network = heads.build(settings, (28, 28, 1), n_classes=9)
    x = np.random.default_rng(0).random((3, 28, 28, 1), dtype=np.float32)
    right = np.eye(3, 9, dtype=bool)
    with_margin = training.head.training_logits(training(x, training=False), right).numpy()
    without = network(x).numpy()
    assert np.all(np.diag(with_margin) < np.diag(without))
    np.testing.assert_allclose(with_margin[~right], without[~right], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(network(x), network(x, training=False), "the network to use changes its images")


def test_augmentation_mirrors_and_shifts_in_training_alone():
    x = np.zeros((64, 32, 32, 3), np.float32)
    x[:, 10, 20] = 1
    image = keras.Input((32, 32, 3))
    augmented = heads.augment(image, heads.CNN_RECIPES["cifar10"], building.layer_seeds(0))
    network = keras.Model(image, augmented)
    np.testing.assert_array_equal(network(x, training=False), x)
    rows, columns = np.nonzero(network(x, training=True).numpy()[..., 0])[1:]
    assert {8, 12} <= set(rows) <= set(range(8, 13))
    assert {18, 22, 9, 13} <= set(columns) <= {*range(18, 23), *range(9, 14)}  # 31 - 20 = 11 when mirrored
    digits = keras.Model(image, heads.augment(image, heads.CNN_RECIPES["mnist"], building.layer_seeds(0)))
    np.testing.assert_array_equal(digits(x, training=True), x, "a mirrored digit is no digit")


def test_scorers_against_numpy():
    rng = np.random.default_rng(0)
    train, normal, anomaly = (scores.directions(rng.normal(m, 1, (50, 8))) for m in [1, 1, 0.5])
    auroc = heads.auroc_by_scorer((train, normal, anomaly))
    cosine = [[-max(a @ b for b in train) for a in x] for x in [normal, anomaly]]
    assert auroc["cosine"] == pytest.approx(np.mean([[a < b for b in cosine[1]] for a in cosine[0]]))
    for k in [5, 20]:
        lof = LocalOutlierFactor(n_neighbors=k, novelty=True).fit(train)
        assert auroc[f"lof{k}"] == scores.auroc(-lof.score_samples(normal), -lof.score_samples(anomaly))


def linear_network():
    """Two inputs are the embedding and the logits of two classes."""
    image = keras.Input((2,))
    embedding = keras.layers.Activation("linear", name="embedding")(image)
    return keras.Model(image, keras.layers.Activation("linear", name="head")(embedding))


def test_a_look_averages_an_image_and_its_mirror_image():
    x, mirrored = np.array([[3.0, 0.0], [0.0, 2.0]], np.float32), np.array([[0.0, 1.0], [0.0, 4.0]], np.float32)
    direction, log_probability = heads.look(linear_network(), [x, mirrored])
    np.testing.assert_allclose(direction, [[0.5**0.5, 0.5**0.5], [0, 1]], rtol=1e-6)
    probability = [[np.exp(1.5) / (np.exp(1.5) + np.exp(0.5)), 1 / (1 + np.exp(3))]]
    np.testing.assert_allclose(np.exp(log_probability[:, 0]), probability[0], rtol=1e-6)


def test_the_probability_is_of_the_views_own_class():
    """In the first view normal images are class 0, in the second class 1: there the anomalies look normal."""
    rows = {"known": np.eye(2).repeat(30, axis=0), "normal": [[3, 0]] * 5, "anomaly": [[0, 3]] * 5, "val": np.eye(2)}
    seen = {of_set: heads.look(linear_network(), [np.array(x, np.float32)]) for of_set, x in rows.items()}

    def metrics(labels, y_val=(0, 1)):
        return heads.metrics_of([seen] * len(labels), labels, seen["val"], np.array(y_val))

    assert metrics([0])["auroc"]["probability"] == 1 and metrics([0])["val_accuracy"] == 1
    assert metrics([1])["auroc"]["probability"] == 0 and metrics([1], [1, 0])["val_accuracy"] == 0
    assert metrics([0, 1])["auroc"]["probability"] == 0.5


def test_heads_together_have_the_mean_of_their_cosines_and_log_probabilities():
    rng = np.random.default_rng(0)
    first, second = (
        {of_set: (scores.directions(rng.normal(size=(4, 3))), rng.normal(size=(4, 2))) for of_set in "ab"}
        for _ in range(2)
    )
    both = heads.together([first, second])
    cosines = [of["a"][0] @ of["b"][0].T for of in (first, second, both)]
    np.testing.assert_allclose(cosines[2], (cosines[0] + cosines[1]) / 2)
    np.testing.assert_allclose(both["b"][1], (first["b"][1] + second["b"][1]) / 2)


def test_upper_blocks_learn_from_both_sides_of_the_frozen_maps(tmp_path):
    flags = {"backbone": "mobilenetv2", "use": "upper-blocks", "width": 0.35, "weights": "none", "epochs": 1}
    ((name, settings),) = heads.plan(args_of(heads=["arcface", "adacos"], **flags)).items()
    assert name == "fashion_mnist-sneaker-ankle_boot/mobilenetv2-0.35-96-upper_blocks/draw-seed0"
    record = heads.run_trial(name, settings, None, tmp_path)
    metrics = record["metrics"]["heads"]
    assert list(metrics) == ["arcface", "adacos", "together"] and list(record["loss"]) == ["arcface", "adacos"]
    assert set(metrics["together"]["auroc"]) == {*DIRECTION_SCORERS, "probability"} and "scale" in metrics["adacos"]


def test_a_trial_repeats_itself_and_its_kept_network_gives_its_numbers(tmp_path):
    ((name, settings),) = heads.plan(args_of(heads=["adacos-dynamic"], epochs=4)).items()
    first, second = (heads.run_trial(name, settings, None, tmp_path) for _ in range(2))
    assert first["metrics"] == second["metrics"] and first["loss"] == second["loss"]
    assert len(first["loss"]) == 4 and first["loss"][-1] < first["loss"][0]
    assert 0.3 < first["metrics"]["val_accuracy"] < 1
    assert first["metrics"]["scale"] != pytest.approx(np.sqrt(2) * np.log(8), rel=1e-3)
    network = keras.saving.load_model(tmp_path / f"{name}.keras")
    drawn = draws.draw(*SNEAKER_BOOT, 0, smoke=True)
    images = [drawn.x_train[drawn.is_normal], drawn.x_normal, drawn.x_anomaly]
    seen = [heads.look(network, heads.sides(x, mirrored=True)) for x in images]
    of_view = dict(zip(["known", "normal", "anomaly"], seen, strict=True))
    metrics = heads.metrics_of([of_view], [8], heads.look(network, [drawn.x_val]), drawn.y_val)
    assert metrics["auroc"] == pytest.approx(first["metrics"]["auroc"], abs=0.01)
    assert metrics["val_accuracy"] == first["metrics"]["val_accuracy"]


def test_frozen_features_are_mobilenetv2s(tmp_path):
    flags = args_of(heads=["arcface"], backbone="mobilenetv2", use="frozen", width=0.35, weights="none", epochs=1)
    ((name, settings),) = heads.plan(flags).items()
    assert name == "fashion_mnist-sneaker-ankle_boot/mobilenetv2-0.35-96-frozen/draw-seed0"
    metrics = heads.run_trial(name, settings, None, tmp_path)["metrics"]["heads"]
    assert list(metrics) == [*heads.FROZEN_LAYERS, "arcface"] and "val_accuracy" in metrics["arcface"]
    assert all(set(of["auroc"]) == DIRECTION_SCORERS for layer, of in metrics.items() if layer != "arcface")
    assert set(metrics["arcface"]["auroc"]) == {*DIRECTION_SCORERS, "probability"}


def test_features_alone_are_of_both_sides_of_an_image(tmp_path, monkeypatch):
    flags = args_of(backbone="mobilenetv2", use="features", width=0.35, weights="none")
    ((name, settings),) = heads.plan(flags).items()
    assert settings["heads"] == {} and name.endswith("/mobilenetv2-0.35-96-features/draw-seed0")
    auroc = heads.run_trial(name, settings, None, tmp_path)["metrics"]["heads"]
    assert list(auroc) == heads.FROZEN_LAYERS
    monkeypatch.setattr(heads, "sides", lambda x, mirrored: [x[:, :, ::-1], x])
    turned_round = heads.run_trial(name, settings, None, tmp_path)["metrics"]["heads"]
    assert all(turned_round[layer]["auroc"] == pytest.approx(auroc[layer]["auroc"], abs=1e-3) for layer in auroc)


@pytest.mark.slow
def test_mobilenetv2_is_fine_tuned(tmp_path):
    flags = args_of(heads=["l2softmax"], backbone="mobilenetv2", width=0.35, weights="none", epochs=1)
    ((name, settings),) = heads.plan(flags).items()
    record = heads.run_trial(name, settings, None, tmp_path)
    assert set(record["metrics"]["auroc"]) == {*DIRECTION_SCORERS, "probability"}
    assert keras.saving.load_model(tmp_path / f"{name}.keras").get_layer("embedding").output.shape == (None, 1280)


@pytest.mark.slow
def test_a_trial_without_references(tmp_path):
    ((name, settings),) = heads.plan(args_of(references="none", epochs=1)).items()
    record = heads.run_trial(name, settings, None, tmp_path)
    assert "/cnn-self_supervised-8_views/" in name and "probability" in record["metrics"]["auroc"]
    head = keras.saving.load_model(tmp_path / f"{name}.keras").get_layer("head")
    assert head.output.shape == (None, 8)


@pytest.mark.slow
def test_the_command_runs_what_is_missing(tmp_path):
    flags = ["--smoke", "--dataset", "fashion-mnist", "--seeds", 2, "--heads", "softmax", "--out", tmp_path]
    assert "2 trials, 2 of them to run" in run("experiments.heads", *flags)
    path = tmp_path / "results" / "article2.jsonl"
    lines = sorted(path.read_text().splitlines())
    path.write_text(lines[0] + "\n")
    assert "2 trials, 1 of them to run" in run("experiments.heads", *flags, "--jobs", 1)
    assert len(path.read_text().splitlines()) == 2
    with pytest.raises(InputError, match="made with another recipe"):
        run("experiments.heads", *flags, "--epochs", 3)
