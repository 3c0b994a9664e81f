"""Tables from records, and the README's tables against the committed records."""

import copy
import json
import re

from hypersphere import readme, tables
from hypersphere.errors import InputError

import numpy as np
import pytest

README = readme.README.read_text()
SEEDS = tables.load_seeds()


def test_readme_shows_the_committed_records():
    assert len(SEEDS) >= 5
    assert readme.fill_in(README, readme.readme_tables()) == README, "run `make readme`"


def test_every_table_has_its_place_in_the_readme():
    markers = re.findall(r"<!-- (\w+) -->", README)
    assert sorted(markers) == sorted(readme.readme_tables())


def test_committed_records_belong_together():
    for number, records in enumerate(SEEDS):
        assert set(records) == set(tables.SCRIPTS)
        assert records["cnn"]["flags"]["seed"] == records["l2softmax"]["flags"]["seed"] == number
        assert records["lof"]["seed"] == number
        assert not any(records[name]["flags"]["smoke"] for name in records)
        assert not records["lof"]["missing"]
    assert len({records["lof"]["cifar10_sha256"] for records in SEEDS}) == 1
    for name in tables.SCRIPTS:
        varying = {"seed", "skip_input"}
        flags = [{k: v for k, v in records[name]["flags"].items() if k not in varying} for records in SEEDS]
        assert all(other == flags[0] for other in flags)


def test_a_changed_record_changes_the_readme():
    changed = copy.deepcopy(SEEDS)
    changed[0]["cnn"]["metrics"]["accuracy"]["test"] -= 0.01
    changed[1]["lof"]["metrics"]["l2softmax"]["auroc"]["CIFAR-10"] -= 0.01
    before, after = tables.all_tables(SEEDS), tables.all_tables(changed)
    assert {name for name in before if before[name] != after[name]} == {"accuracy", "summary", "separation"}


def test_accuracy_shows_mean_and_sample_standard_deviation():
    test = np.array([r["cnn"]["metrics"]["accuracy"]["test"] for r in SEEDS]) * 100
    sd = np.sqrt(((test - test.mean()) ** 2).sum() / (len(test) - 1))
    assert f"{test.mean():.2f} ± {sd:.2f} %" in tables.accuracy(SEEDS)


def test_spread():
    assert tables.spread([0.5], 2, 100) == "50.00"
    assert tables.spread([1, 2, 3], 1) == "2.0 ± 1.0"


def test_markdown_lines_up():
    lines = tables.markdown(["a", "long header"], [["much longer", "1"], ["x", "2"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ----------- | ----------- |"


def test_fill_in_replaces_what_stands_between_the_markers():
    text = "a\n<!-- t -->\nold\n\nold\n<!-- /t -->\nb"
    assert readme.fill_in(text, {"t": r"new \1"}) == "a\n<!-- t -->\n\nnew \\1\n\n<!-- /t -->\nb"
    assert readme.fill_in("<!-- t -->\n<!-- /t -->", {"t": "new"}) == "<!-- t -->\n\nnew\n\n<!-- /t -->"
    with pytest.raises(InputError, match="markers"):
        readme.fill_in(text, {"u": "x"})


def test_load_records_names_a_damaged_one(tmp_path):
    assert tables.load_records(tmp_path) == {}
    (tmp_path / "lof.json").write_text("{")
    with pytest.raises(InputError, match=r"lof\.json: damaged; run anomaly_lof\.py again"):
        tables.load_records(tmp_path)


def test_seeds_that_met_different_outliers_are_not_put_together(tmp_path):
    for number in range(2):
        (tmp_path / f"seed{number}").mkdir()
        records = copy.deepcopy(SEEDS[number]["lof"])
        if number:
            del records["metrics"]["l2softmax"]["auroc"]["CIFAR-10"]
        (tmp_path / f"seed{number}" / "lof.json").write_text(json.dumps(records))
    with pytest.raises(InputError, match="without CIFAR-10"):
        tables.load_seeds(tmp_path)
