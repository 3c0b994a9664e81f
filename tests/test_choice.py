"""The comparison of recipes for article 1, on a small slice."""

from argparse import Namespace

import numpy as np

from conftest import write_cifar10
from experiments import choice
from hypersphere import datasets


def test_a_candidate_is_judged_on_validation_digits_and_training_outliers(tmp_path):
    write_cifar10(tmp_path / datasets.CIFAR10_FOLDER, np.random.default_rng(0))
    (tmp_path / datasets.CIFAR10_FOLDER / datasets.CIFAR10_FILES[0]).symlink_to("test_batch.bin")
    trials = choice.plan(Namespace(precision="float32", smoke=True, seeds=3))
    assert list(trials) == [f"{name}/seed100" for name in choice.CANDIDATES]
    name, settings = next(iter(trials.items()))
    metrics = choice.run_trial(name, settings, tmp_path, tmp_path)["metrics"]
    assert 0 < metrics["validation_accuracy"] <= 1
    assert set(metrics["accepted_at_rejection"]) == {"0.01", "0.04"}
    assert set(metrics["accepted_at_rejection"]["0.01"]) == {"Fashion-MNIST", "CIFAR-10"}
    clothes, _ = datasets.load_labelled("fashion-mnist", "train")
    ood = choice.load_outliers(tmp_path, smoke=True)
    np.testing.assert_array_equal(ood["Fashion-MNIST"], clothes[: len(ood["Fashion-MNIST"])])


def test_the_candidates_network_is_the_scripts_with_other_filters():
    settings = choice.BASE | {"alpha": 16.0, "seed": 0}
    assert choice.build(settings).count_params() == 60_874
    assert choice.build(settings | {"filters": [32, 64, 128]}).count_params() == 167_114
