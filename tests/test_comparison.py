"""The comparison of heads: statistics against known values, tables from records."""

import json

from hypersphere import comparison, trials
from hypersphere.errors import InputError

import numpy as np
import pytest


def record(head, seed, cosine, lof5=0.5, lof20=0.5, **flags):
    pair = {"dataset": "cifar10", "normal": 4, "anomaly": 7, "backbone": "cnn", "legacy": False}
    return {
        "flags": pair | {"head": head, "seed": seed} | flags,
        "metrics": {"auroc": {"cosine": cosine, "lof5": lof5, "lof20": lof20}, "val_accuracy": 0.5}
        | ({"scale": 2.5} if "adacos" in head else {}),
    }


def test_holm_on_a_known_example():
    np.testing.assert_allclose(comparison.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(comparison.holm([0.6, 0.5]), [1, 1])


def test_paired_differences_by_hand():
    a = [0.90, 0.92, 0.94, 0.95, 0.96, 0.97]
    b = [0.89, 0.90, 0.91, 0.91, 0.91, 0.91]
    row, *_ = rows = comparison.paired_differences({"a": a, "b": b, "c": b})
    assert [row["heads"] for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    difference = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert row["mean"] == pytest.approx(0.035)
    # Student's t for 5 degrees of freedom; the exact Wilcoxon p of six equal signs is 2 / 2**6.
    assert row["half_width"] == pytest.approx(2.570582 * difference.std(ddof=1) / np.sqrt(6), rel=1e-5)
    assert row["p"] == pytest.approx(2 / 64) and row["p_corrected"] == pytest.approx(3 * 2 / 64)
    assert row["higher"] == row["seeds"] == 6
    assert rows[2]["mean"] == 0 and rows[2]["p"] == rows[2]["p_corrected"] == 1 and rows[2]["higher"] == 0


def test_aurocs_keep_the_seeds_that_every_head_has():
    records = [record("adacos", 0, 0.8), record("adacos", 1, 0.9), record("softmax", 2, 0.1), record("softmax", 1, 0.7)]
    aurocs = comparison.aurocs(records)
    assert list(aurocs) == ["softmax", "adacos"]
    assert aurocs["softmax"]["cosine"] == [0.7] and aurocs["adacos"]["cosine"] == [0.9]


def test_legacy_compares_the_seeds_that_both_have():
    right = [record("arcface", seed, 0.8 + seed / 10) for seed in range(2)]
    right += [record(head, seed, 0.8, 0.7) for head in ["adacos", "l2softmax", "softmax"] for seed in range(2)]
    faulty = [record("arcface", seed, 0.6 + seed / 10, legacy=True) for seed in [1, 2]]
    faulty += [record(head, seed, 0.5, 0.6, legacy=True) for head in ["adacos", "l2softmax"] for seed in [1, 2]]
    lines = comparison.legacy_table(right, faulty).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert cells == [
        ["L2-softmax", "LOF, k = 5", "0.700", "0.600", "-0.100"],
        ["ArcFace", "largest cosine", "0.900", "0.700", "-0.200"],
        ["AdaCos, fixed", "largest cosine", "0.800", "0.500", "-0.300"],
    ]


def test_every_head_and_scorer_of_a_trial_has_its_title():
    assert list(comparison.HEADS) == list(trials.HEADS)
    rows = np.eye(30)
    assert list(comparison.SCORERS) == list(trials.auroc_by_scorer(rows, rows[:5], rows[5:]))


def test_tables_show_ours_beside_the_articles():
    records = [record("adacos", seed, value) for seed, value in enumerate([0.7, 0.8, 0.9])]
    records += [record("cosface", seed, value) for seed, value in enumerate([0.6, 0.6, 0.7])]
    lines = comparison.auroc_table(records).splitlines()
    assert "0.600 (0.633 ± 0.058)" in lines[2] and "article" not in lines[2]
    assert "0.800 (0.800 ± 0.100)" in lines[3] and "0.800 (0.805 ± 0.017), largest cosine" in lines[3]
    assert lines[3].split("|")[-3:-1] == [" 50.0 ± 0.0  ", " 2.50 ± 0.00 "]
    line = comparison.difference_table(records, "cosine").splitlines()[2]
    assert line.startswith("| CosFace - AdaCos, fixed | -0.167 ± 0.143") and "0 of 3" in line
    assert comparison.title(records) == "CIFAR-10: deer (normal) against horse (anomaly), cnn"
    assert set(comparison.boxes(records)["AdaCos, fixed"]) == {*comparison.SCORERS.values(), "article"}
    assert "article" not in comparison.boxes(records)["CosFace"]
    assert comparison.article([record("adacos", 0, 0.5, anomaly=5)]) == {}


def test_the_articles_medians():
    medians = {
        (pair[0], head): np.median(values)
        for pair, by_head in comparison.ARTICLE_AUROC.items()
        for head, values in by_head.items()
    }
    assert medians == pytest.approx(
        {
            ("fashion-mnist", "l2softmax"): 0.915,
            ("fashion-mnist", "arcface"): 0.940,
            ("fashion-mnist", "adacos"): 0.940,
            ("cifar10", "l2softmax"): 0.835,
            ("cifar10", "arcface"): 0.805,
            ("cifar10", "adacos"): 0.800,
        }
    )


def test_records_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(InputError, match="no records"):
        comparison.load_records(tmp_path)
    (tmp_path / "adacos-seed0.json").write_text(json.dumps(record("adacos", 0, 0.5)))
    assert len(comparison.load_records(tmp_path)) == 1
    (tmp_path / "adacos-seed1.json").write_text("{")
    with pytest.raises(InputError, match=r"adacos-seed1\.json: damaged"):
        comparison.load_records(tmp_path)
