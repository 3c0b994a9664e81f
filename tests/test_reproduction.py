"""The reproduced numbers: those of the committed seeds, and (slow) those of a run made here and now."""

import statistics
from dataclasses import asdict

from conftest import run_script
from hypersphere import backbones, comparison, readme, tables

import pytest

SEEDS = tables.load_seeds()


def mean(values):
    return statistics.mean(values)


def accuracy(runs, name):
    return mean(run[name]["metrics"]["accuracy"]["test"] for run in runs)


def share_normal(runs, space, rule, level, name):
    metrics = [run["lof"]["metrics"] for run in runs]
    return mean(m[space][rule][level][name] for m in metrics if space in m)


def assert_reproduced(runs):
    """The least that a reproduction must reach, on the mean of its runs."""
    assert accuracy(runs, "cnn") >= 0.990
    assert accuracy(runs, "l2softmax") >= 0.993
    assert share_normal(runs, "l2softmax", "normal_at_rejection", "0.01", "Fashion-MNIST") <= 0.18
    assert share_normal(runs, "l2softmax", "normal_at_rejection", "0.04", "Fashion-MNIST") <= 0.05
    # In the input space the article's three numbers are a point of our ROC curve, at another threshold.
    for name, article in [("MNIST test", 0.99), ("Fashion-MNIST", 0.70)]:
        assert share_normal(runs, "input", "normal_at_rejection", "0.006", name) == pytest.approx(article, abs=0.05)


def test_committed_seeds_reproduce_the_article():
    assert_reproduced(SEEDS)
    differences = [accuracy([run], "l2softmax") - accuracy([run], "cnn") for run in SEEDS]
    assert mean(differences) > 0
    assert share_normal(SEEDS, "l2softmax", "normal_at_rejection", "0.01", "CIFAR-10") <= 0.08
    assert share_normal(SEEDS, "l2softmax", "normal_at_rejection", "0.04", "CIFAR-10") <= 0.01
    assert share_normal(SEEDS, "input", "normal_at_rejection", "0.006", "CIFAR-10") == pytest.approx(0.16, abs=0.05)


def test_every_script_stays_under_4_gb():
    assert max(run[name]["peak_memory_mb"] for run in SEEDS for name in tables.SCRIPTS) < 4000


@pytest.mark.parametrize("name", readme.HEADS_FOLDERS)
@pytest.mark.parametrize(
    ("kind", "heads", "seeds"), [("cnn", comparison.HEADS, 10), ("cnn-legacy", comparison.ARTICLE_SCORERS, 3)]
)
def test_committed_trials_are_complete_and_comparable(name, kind, heads, seeds):
    records = comparison.load_records(readme.HEADS_FOLDERS[name] / kind)
    runs = {(record["flags"]["head"], record["flags"]["seed"]) for record in records}
    assert runs == {(head, seed) for head in heads for seed in range(seeds)}
    varying = {"head", "head_arguments", "seed"}
    flags = [{key: value for key, value in record["flags"].items() if key not in varying} for record in records]
    assert all(other == flags[0] for other in flags)
    assert flags[0]["legacy"] == (kind == "cnn-legacy") and not flags[0]["smoke"]
    assert flags[0]["recipe"] == asdict(backbones.recipe("cnn", flags[0]["dataset"]))
    assert len({record.get("cifar10_sha256") for record in records}) == 1
    assert max(record["peak_memory_mb"] for record in records) < 4000


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("sneaker", 0.949),
        pytest.param("sneaker", 0.95, marks=pytest.mark.xfail(strict=True, reason="the goal is missed by 0.0006")),
        ("deer", 0.80),
    ],
)
def test_committed_trials_reach_the_article(name, least):
    _, _, values = comparison.best(comparison.load_records(readme.HEADS_FOLDERS[name] / "cnn"))
    assert mean(values) >= least


@pytest.mark.parametrize("name", readme.HEADS_FOLDERS)
def test_a_large_scale_wins_by_the_cosine_in_every_draw(name):
    aurocs = comparison.aurocs(comparison.load_records(readme.HEADS_FOLDERS[name] / "cnn"))
    for strong in ["cosface", "arcface"]:
        for weak in ["adacos", "adacos-dynamic"]:
            pairs = zip(aurocs[strong]["cosine"], aurocs[weak]["cosine"], strict=True)
            assert all(first > second for first, second in pairs)


def test_with_lof_cosface_is_the_worst_for_deer():
    aurocs = comparison.aurocs(comparison.load_records(readme.HEADS_FOLDERS["deer"] / "cnn"))
    means = {head: mean(by_scorer["lof20"]) for head, by_scorer in aurocs.items()}
    assert min(means, key=means.get) == "cosface"


@pytest.mark.slow
def test_a_run_made_here_reproduces_the_article(tmp_path):
    for script in tables.SCRIPTS.values():
        done = run_script(script, "--out", tmp_path)
        assert done.returncode == 0, done.stderr
    assert_reproduced([tables.load_records(tmp_path / "results")])
