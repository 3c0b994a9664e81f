"""The measurement of speed, on small slices."""

import pytest

from common import records
from conftest import run
from experiments import speed


def test_the_table_compares_medians_with_ours():
    seconds = {"a stage": {"ours": [1.0, 9.0, 2.0], "another": [4.0, 4.0, 5.0]}}
    record = {"settings": {"repeats": 3}, "metrics": {"seconds": seconds}, "versions": {}}
    table = speed.tables([record | {"machine": {"cpu": "a processor", "cores": 2}}])["stages"]
    assert "| a stage | another | 4.0              | 4.0 to 5.0 | 0.50" in table and "n = 3 repeats" in table


@pytest.mark.slow
def test_the_stages_are_timed_beside_alternatives(smoke_run, tmp_path):
    flags = ["--smoke", "--models", smoke_run / "models", "--out", tmp_path]
    assert "Keras, fit on arrays" in run("experiments.speed", *flags)
    (record,) = records.read_records(tmp_path / "results" / "speed.jsonl")
    assert all(min(values) > 0 for stage in record["metrics"]["seconds"].values() for values in stage.values())
