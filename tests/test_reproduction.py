"""The reproduced numbers: those of the committed seeds, and (slow) those of a run made here and now."""

import statistics
from dataclasses import asdict

from conftest import run_script
from hypersphere import backbones, comparison, outlier_tables, readme, recipes, tables

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


SCOREBOARD = outlier_tables.load_records(readme.SCOREBOARD_FOLDER)
WHOLE, NEAR = (outlier_tables.of_recipe(SCOREBOARD, "best", classes) for classes in [10, 5])


def ours(records, key, name):
    return mean(r["metrics"]["detectors"][outlier_tables.OURS][key][name] for r in records)


def test_committed_scoreboard_is_complete_and_comparable():
    assert {(r["flags"]["seed"], r["flags"]["classes"]) for r in [*WHOLE, *NEAR]} == {
        (seed, classes) for seed in range(5) for classes in [10, 5]
    }
    for record in SCOREBOARD:
        assert record["flags"]["recipe"] == asdict(recipes.RECIPES[record["flags"]["recipe_name"]])
        assert not record["flags"]["smoke"] and not record["missing"]
        assert record["metrics"]["parameters"] <= 200_000
        assert record["peak_memory_mb"] < 4000
    assert len({record["cifar10_sha256"] for record in SCOREBOARD}) == 1
    assert {record["flags"]["precision"] for record in SCOREBOARD} == {"bfloat16"}


@pytest.mark.parametrize(
    ("records", "name", "auroc", "fpr95"),
    [
        (WHOLE, "Fashion-MNIST", 0.9995, 0.0005),
        (WHOLE, "CIFAR-10", 0.9995, 0),
        (WHOLE, "printed letters", 0.98, 0.083),
        pytest.param(
            *(WHOLE, "printed letters", 0.98, 0.08),
            marks=pytest.mark.xfail(strict=True, reason="the goal is missed by 0.0027"),
        ),
        (NEAR, outlier_tables.NEAR, 0.978, 0.09),
    ],
    ids=["clothes", "photographs", "letters", "letters' goal", "digits"],
)
def test_one_detector_turns_away_far_and_near_outliers(records, name, auroc, fpr95):
    assert ours(records, "auroc", name) >= auroc
    assert ours(records, "fpr95", name) <= fpr95


@pytest.mark.parametrize(("name", "most"), [("Fashion-MNIST", 0.003), ("CIFAR-10", 0.00005)])
def test_few_far_outliers_pass_where_1_percent_of_the_digits_are_turned_away(name, most):
    assert ours(WHOLE, "judged_normal", name) <= most


def test_the_best_recipe_is_accurate():
    assert mean(r["metrics"]["accuracy"]["test"] for r in WHOLE) >= 0.9955


def test_the_promise_is_kept():
    for record in WHOLE:
        assert 0.006 <= record["metrics"]["calibration"]["at_1_percent"] <= 0.016
        assert 0.008 <= mean(record["metrics"]["calibration"]["halves"]) <= 0.012


@pytest.mark.slow
def test_a_run_made_here_reproduces_the_article(tmp_path):
    for script in tables.SCRIPTS.values():
        done = run_script(script, "--out", tmp_path)
        assert done.returncode == 0, done.stderr
    assert_reproduced([tables.load_records(tmp_path / "results")])
