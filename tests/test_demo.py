"""The study of the demo: posted pictures and taught signs."""

import pytest

from common import records
from conftest import run
from experiments import demo


@pytest.mark.slow
def test_pictures_are_taken_for_what_they_are_and_signs_recognised(tmp_path):
    run("experiments.demo", "--smoke", "--out", tmp_path)
    pictures, signs = records.read_records(tmp_path / "results" / "demo.jsonl")
    metrics = pictures["metrics"]
    assert metrics["own_accuracy"] >= 0.97
    for shares in metrics["digits"].values():
        assert shares["accuracy"] >= 0.97 and shares["rejected"] <= 0.08
    assert metrics["rejected"]["Fashion-MNIST"]["posted"] >= 0.94
    assert 0 < metrics["inside_ms"]["median"] <= metrics["inside_ms"]["p99"]
    for group in demo.GROUPS:
        shares = signs["metrics"][group]
        assert shares["recognised"] >= 0.9
        assert shares["digits taken for a sign"] <= 0.01 and shares["scribbles taken for a sign"] <= 0.15
    made = demo.tables([pictures, signs, pictures | {"metrics": metrics | {"own_accuracy": 0.123}}])
    assert "12.3%" in made["demo_pictures"], "the last record's"
    assert "smoke" in made["demo_signs"]
