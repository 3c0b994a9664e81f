"""Article 2's study: its protocol, its networks and its trials, on small draws; its tables from records."""

import itertools
import re
from argparse import Namespace
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import LocalOutlierFactor

from common import records
from conftest import write_cifar10
from experiments import article2, building, mobilenet
from hypersphere import datasets, scores
from hypersphere.errors import InputError

MOBILENET = {"backbone": "mobilenetv2", "width": 0.35, "weights": "none", "epochs": 1}


def flags_of(**flags):
    defaults = {"dataset": "fashion-mnist", "normal": None, "anomaly": None, "heads": ["arcface"], "draws": 1}
    defaults |= {"backbone": "cnn", "use": None, "width": None, "size": None, "weights": None, "epochs": None}
    defaults |= {"references": "eight", "split": "train", "faults": None, "grid": False, "first": 0, "recipe": None}
    return Namespace(**defaults | {"smoke": True, "data": None} | flags)


def only_trial(**flags):
    ((name, settings),) = article2.plan(flags_of(**flags)).items()
    return name, settings


def draw(seed=0, **flags):
    return article2.draw(only_trial(**flags)[1] | {"seed": seed})


def original_labels(images, split="train"):
    """The data set's own labels of some images, found by their pixels."""
    x, y = datasets.load_labelled("fashion-mnist", split)
    label_of = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    return np.array([label_of[image.tobytes()] for image in images])


def test_a_draw_follows_the_protocol():
    images, labels = draw(3, smoke=False, split="test")
    counts = {"train": 9000, "val": 1800, "known": 1000, "normal": 1000, "anomaly": 1000}
    assert {name: x.shape for name, x in images.items()} == {name: (n, 28, 28, 1) for name, n in counts.items()}
    own = original_labels(images["train"])
    np.testing.assert_array_equal(own, np.array([0, 1, 2, 3, 4, 5, 6, 8, 7])[labels["train"]])
    np.testing.assert_array_equal(np.bincount(labels["train"]), [1000] * 9)
    np.testing.assert_array_equal(images["known"], images["train"][own == 7])
    assert set(original_labels(images["normal"], "test")) == {7}
    assert set(original_labels(images["anomaly"], "test")) == {9}
    assert not {image.tobytes() for image in images["train"]} & {image.tobytes() for image in images["val"]}


def test_new_images_of_the_training_split_are_others_and_drawn_anew():
    (first, _), (second, _), (of_test, _) = draw(3), draw(4), draw(3, split="test")
    np.testing.assert_array_equal(first["train"], of_test["train"])
    assert set(original_labels(first["normal"])) == {7} and set(original_labels(first["anomaly"])) == {9}
    train, val, new = ({image.tobytes() for image in first[name]} for name in ["train", "val", "normal"])
    assert not new & (train | val)
    assert all(not np.array_equal(first[name], second[name]) for name in first)


def test_without_references_the_views_are_the_classes():
    (plain, _), (alone, labels) = draw(), draw(references="none")
    np.testing.assert_array_equal(alone["train"][:60], plain["known"])
    np.testing.assert_array_equal(alone["train"][labels["train"] == 1], np.rot90(plain["known"], axes=(1, 2)))
    np.testing.assert_array_equal(alone["train"][labels["train"] == 4], plain["known"][:, :, ::-1])
    np.testing.assert_array_equal(alone["anomaly"][60:120], np.rot90(plain["anomaly"], axes=(1, 2)))
    np.testing.assert_array_equal(np.bincount(labels["val"]), [60] * 8)


@pytest.mark.parametrize("name", ["arcface", "adacos"])
def test_faulty_heads_divide_by_the_norm_of_the_whole_batch_and_kernel(name, rng):
    x, kernel = rng.normal(size=(9, 4)), rng.normal(size=(4, 5))
    head = article2.FAULTY_HEADS[name](5, **article2.HEADS[name][1])
    head.build((None, 4))
    head.kernel.assign(kernel)
    expected = head.scale * x @ kernel / np.sqrt((x**2).sum() * (kernel**2).sum())
    np.testing.assert_allclose(head(x.astype("float32")), expected, atol=1e-5)


def test_faulty_labels_collide_as_in_the_published_code():
    (plain, right), (images, labels) = draw(), draw(faults="labels")
    np.testing.assert_array_equal(plain["train"], images["train"])
    np.testing.assert_array_equal(labels["train"], np.where(right["train"] == 8, 6, right["train"]))
    assert set(labels["known"]) == {6}, "shirts are the class before sneakers"


@pytest.mark.parametrize("faults", [None, "both"])
def test_faults_reach_the_head_and_the_labels(faults):
    settings = only_trial(faults=faults, epochs=1)[1]
    images, labels = article2.draw(settings)
    x = tf.constant(images["train"][::9])
    network, _ = article2.learn(settings, x, labels["train"][::9], "arcface", article2.HEADS["arcface"][1])
    assert isinstance(network.get_layer("head"), article2.WholeNorms) == (8 not in labels["train"]) == bool(faults)


def test_features_are_standardised_and_named():
    settings = only_trial(use="features", heads=None, size=96, **MOBILENET)[1]
    found, columns = article2.frozen_part(settings, {name: x[:9] for name, x in article2.draw(settings)[0].items()})
    widths = {"block_6_expand_relu": 96, "block_13_expand_relu": 192, "out_relu": 1280}
    assert {name: len(chosen) for name, chosen in columns.items()} == widths
    np.testing.assert_allclose(np.mean(np.concatenate(found["train"]), axis=0), 0, atol=1e-3)


def test_the_articles_pairs_are_the_default(tmp_path, monkeypatch, capsys):
    write_cifar10(tmp_path / datasets.CIFAR10_FOLDER, np.random.default_rng(0))
    one = tmp_path / datasets.CIFAR10_FOLDER / "data_batch_1.bin"
    one.unlink()
    with pytest.raises(InputError, match=r"data_batch_1\.bin: missing"):
        article2.plan(flags_of(dataset=None, data=tmp_path))
    one.symlink_to("test_batch.bin")
    trials = article2.plan(flags_of(dataset=None, data=tmp_path, faults="labels"))
    assert [settings["dataset"] for settings in trials.values()] == ["fashion-mnist", "cifar10"]
    assert set(article2.draw(list(trials.values())[1], tmp_path)[1]["known"]) == {3}
    monkeypatch.setattr(datasets, "find_cifar10", Mock(side_effect=datasets.DownloadError("no network")))
    assert {settings["dataset"] for settings in article2.plan(flags_of(dataset=None)).values()} == {"fashion-mnist"}
    assert "no network" in capsys.readouterr().out
    with pytest.raises(datasets.DownloadError):
        article2.plan(flags_of(dataset="cifar10"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"dataset": None, "normal": 7, "anomaly": 9}, "give --dataset"),
        ({"normal": 7, "anomaly": 7}, "two of its classes"),
        ({"normal": "Sneaker", "anomaly": "boot"}, "sneaker, bag, ankle boot"),
        ({"backbone": "mobilenetv2", "use": "features"}, "leave --heads out"),
        ({"backbone": "mobilenetv2", "use": "upper-blocks", "grid": True}, "--grid or --recipe; leave them out"),
        ({"backbone": "mobilenetv2", "use": "upper-blocks", "weights": "none", "recipe": "article"}, "--recipe"),
        ({"use": "features"}, "--backbone mobilenetv2"),
        ({"backbone": "mobilenetv2", "weights": "no.h5"}, r"no\.h5: missing"),
        ({"backbone": "mobilenetv2", "use": "features", "references": "none"}, "give --use fine-tuned"),
        ({"backbone": "pixels"}, "leave --heads out"),
        ({"faults": "norms", "heads": ["softmax"]}, "--faults: of arcface, adacos"),
    ],
)
def test_wrong_flags_are_named(flags, words):
    with pytest.raises(InputError, match=words):
        article2.plan(flags_of(**flags))


def test_classes_have_names_and_the_grid_meets_the_articles_arcface_once():
    name, settings = only_trial(normal="Sneaker", anomaly="9", first=100)
    assert (settings["normal"], settings["anomaly"], settings["seed"]) == (7, 9, 100)
    trials = article2.plan(flags_of(grid=True))
    assert len(trials) == len({str(trial["head_arguments"]) for trial in trials.values()}) == 16
    assert name.replace("100", "0") in trials


def test_the_plan_is_every_head_on_every_draw():
    trials = article2.plan(flags_of(heads=None, draws=3, smoke=False))
    assert len(trials) == 21 and {settings["recipe"]["epochs"] for settings in trials.values()} == {12}
    others = [article2.plan(flags_of(heads=None, faults=faults)) for faults in ["norms", "labels", "both"]]
    assert len({name for plan in [trials, *others] for name in plan}) == 21 + 3 * 2, "a name of its own each"


def test_augmentation_mirrors_and_shifts_in_training_alone():
    x = np.zeros((64, 32, 32, 3), np.float32)
    x[:, 10, 20] = 1
    image = keras.Input((32, 32, 3))
    network = keras.Model(image, article2.augment(image, {"mirror": True, "shift": 2}, building.layer_seeds(0)))
    np.testing.assert_array_equal(network(x, training=False), x)
    rows, columns = np.nonzero(network(x, training=True).numpy()[..., 0])[1:]
    assert {8, 12} <= set(rows) <= set(range(8, 13))
    assert {18, 22, 9, 13} <= set(columns) <= {*range(18, 23), *range(9, 14)}  # 31 - 20 = 11 when mirrored


def test_scorers_against_numpy(rng):
    train, normal, anomaly = (scores.directions(rng.normal(m, 1, (50, 8))) for m in [1, 1, 0.5])
    auroc = article2.auroc_by_scorer(train, normal, anomaly)
    cosine = [[-max(a @ b for b in train) for a in x] for x in [normal, anomaly]]
    assert auroc["cosine"] == pytest.approx(np.mean([[a < b for b in cosine[1]] for a in cosine[0]]))
    for k in [5, 20]:
        lof = LocalOutlierFactor(n_neighbors=k, novelty=True).fit(train)
        assert auroc[f"lof{k}"] == scores.auroc(-lof.score_samples(normal), -lof.score_samples(anomaly))
    views = [np.concatenate([part[:25], part[25:]]) for part in [train, normal, anomaly]]
    added = [sum(scores.cosine_score(train[i : i + 25], x[i : i + 25]) for i in [0, 25]) for x in [normal, anomaly]]
    assert article2.auroc_by_scorer(*views, n_views=2)["cosine"] == scores.auroc(*added)


def test_a_look_averages_an_image_and_its_mirror_image():
    image = keras.Input((2,))  # two inputs are the embedding and the logits of two classes
    embedding = keras.layers.Activation("linear", name="embedding")(image)
    network = keras.Model(image, keras.layers.Activation("linear", name="head")(embedding))
    x, mirrored = np.array([[3.0, 0.0], [0.0, 2.0]], np.float32), np.array([[0.0, 1.0], [0.0, 4.0]], np.float32)
    direction, classes = article2.look(network, [x, mirrored])
    np.testing.assert_allclose(direction, [[0.5**0.5, 0.5**0.5], [0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(classes, [0, 1])


def test_a_trial_repeats_itself(tmp_path):
    name, settings = only_trial(heads=["adacos-dynamic"], epochs=2)
    first, second = (article2.run_trial(name, settings, None, tmp_path) for _ in range(2))
    assert first["metrics"] == second["metrics"] and first["loss"] == second["loss"]
    assert len(first["loss"]) == 2 and first["loss"][-1] < first["loss"][0]


@pytest.mark.parametrize("use", [pytest.param("upper-blocks", marks=pytest.mark.slow), "features"])
def test_heads_share_what_a_frozen_part_gives(use, tmp_path):
    heads = ["arcface", "adacos"] if use == "upper-blocks" else None
    name, settings = only_trial(heads=heads, use=use, size=64, **MOBILENET)
    record = article2.run_trial(name, settings, None, tmp_path)
    found = {head: set(metrics["auroc"]) for head, metrics in record["metrics"]["heads"].items()}
    assert found == {head: set(article2.SCORERS) for head in heads or mobilenet.LAYERS}


def test_pixels_are_compared_with_those_of_the_mirror_image(tmp_path):
    name, settings = only_trial(backbone="pixels", heads=None)
    parts = [article2.draw(settings)[0][name] for name in ["known", "normal", "anomaly"]]
    directions = [article2.mean_direction([side.reshape(len(x), -1) for side in [x, x[:, :, ::-1]]]) for x in parts]
    found = article2.run_trial(name, settings, None, tmp_path)["metrics"]["heads"]["no head"]
    assert found == {"auroc": article2.auroc_by_scorer(*directions)}


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{"references": "none"}, MOBILENET | {"faults": "both"}])
def test_other_trials_of_one_head(flags, tmp_path):
    record = article2.run_trial(*only_trial(**{"epochs": 1} | flags), None, tmp_path)
    assert set(record["metrics"]["auroc"]) == set(article2.SCORERS)


def record_of(auroc, seed=0, **settings):
    common = only_trial()[1] | {"seed": seed} | settings
    metrics = {"auroc": dict.fromkeys(article2.SCORERS, auroc), "val_accuracy": 0.9}
    return records.new_record(f"{common['head']}-{settings}-{seed}", common, metrics, 0)


def test_settings_decide_a_tables_rows():
    found = [record_of(0.9 + seed / 100, seed) for seed in range(5)]
    found += [record_of(0.8 + seed / 50, seed, head="adacos", head_arguments={}) for seed in range(5)]
    found += [record_of(0.7 + seed / 100, seed, faults="norms") for seed in range(2)]
    made = article2.tables([*found, record_of(0.1, seed=100)])
    assert set(made) == {"article2_claims", "heads_scratch", "contrasts_scratch", "faults", "ways"}
    assert "| sneaker, from scratch " in made["article2_claims"] and "not reproduced" in made["article2_claims"]
    assert "| ArcFace       | 0.920 ± 0.016" in made["heads_scratch"]
    assert "| +0.080 " in made["contrasts_scratch"] and "5 of 5" in made["contrasts_scratch"]
    assert "contrasts_scratch" not in article2.tables(found[1:]), "four draws are too few"
    assert re.search(r"from scratch +\| ArcFace \| 0.905 ± 0.007 +\|", made["faults"]), "the draws with faults alone"
    assert re.search(r"from scratch, faults: norms \| ArcFace \| 0.705 ± 0.007 +\|", made["faults"])
    with pytest.raises(InputError, match="do not belong into one table"):
        article2.tables([*found, record_of(0.9, 4, smoke=False)])


def fine_tuned(draws, **aurocs):
    """Records of fine-tuned networks; aurocs : of each head, or of a head with "_faulty" behind its name."""
    found = []
    for seed, (name, auroc) in itertools.product(range(draws), aurocs.items()):
        head, faulty, _ = name.partition("_faulty")
        settings = {"head": head, "faults": "both" if faulty else None, "head_arguments": article2.HEADS[head][1]}
        found.append(record_of(auroc + seed / 1000, seed, backbone="mobilenetv2", use="fine-tuned", **settings))
    return found


def test_planned_contrasts_of_fine_tuning():
    found = fine_tuned(5, arcface=0.9, adacos=0.8, subcluster=0.85, arcface_faulty=0.7, adacos_faulty=0.8)
    table = article2.tables(found)["contrasts_fine_tuned"]
    for title, difference in zip(article2.PLANNED["fine-tuned"], ["+0.100", "-0.100", "-0.200", "+0.050"], strict=True):
        assert re.search(rf"\| {title} +\| sneaker \| {re.escape(difference)} ", table), table


@pytest.mark.parametrize(("adacos", "word"), [(0.95, "reproduced"), (0.925, "reproduced"), (0.90, "not reproduced")])
def test_the_articles_claims(adacos, word):
    found = fine_tuned(5, l2softmax=0.92, arcface=0.93, adacos=adacos)
    (numbers, equal), caption, used = article2.summary_rows(found)
    assert numbers[1] == "0.919 / 0.934 / 0.929" and caption == "article 2: n = 5 draws"
    assert numbers[3] == ("in part" if adacos == 0.90 else "reproduced") and len(used) == 15
    assert equal[1] == "0.940 → 0.940" and equal[2].startswith(f"0.932 → {adacos + 0.002:.3f}, ") and equal[3] == word
    assert article2.claims(article2.frame_of(found))[-1][3:] == ["0.00 and 0.98", "reproduced"]
    assert set(article2.figures(found)) == {"article2.png"}


def test_arcface_over_its_grid_beside_adacos():
    found = [record_of(0.8, seed, head="adacos", head_arguments={}) for seed in range(2)]
    for point in article2.GRID:
        auroc = 0.9 if point["margin"] < 0.5 else 0.7
        found += [record_of(auroc, seed, head_arguments=point) for seed in range(2)]
    assert not article2.figures(found[:-2]), "a point was not run"
    assert set(article2.figures(found)) == {"article2_grid.png"}
    assert article2.claims(article2.frame_of(found))[0][3:] == ["above in 12 of 16: -0.100 to +0.100", "not reproduced"]
    assert "| ArcFace       | 0.900 ± 0.000" in article2.tables(found)["heads_scratch"]
