"""Article 1's study: its trials, its tables from records, and the scripts' last run put together."""

import copy
import re
import subprocess
from argparse import Namespace

import numpy as np
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from common import plots, records
from conftest import PROJECT, run
from experiments import article1, tables
from hypersphere import datasets, files
from hypersphere.errors import InputError

RECORDS = records.read_records(PROJECT / "results" / "article1.jsonl")
SEEDS = [record for record in RECORDS if not record["name"].startswith("choice/")]


def args_of(**changes):
    return Namespace(**{"smoke": True, "seeds": None, "choose": False} | changes)


def script_record(name, **more):
    """What one of the scripts leaves in a folder."""
    seed = copy.deepcopy(SEEDS[0])
    own = {"name": name, "settings": seed["flags"][name] | {"seed": 0}, "metrics": seed["metrics"][name]}
    own |= {"history": [{"val_accuracy": share} for share in [0.9, 0.99, 0.98, 0.97]], "layers": [["logits", "Dense"]]}
    return seed | {"networks": {}} | own | more


def write(folder, **made):
    for name, record in made.items():
        files.make_writable(folder)
        records.write_record(folder / f"{name}.json", record)


def test_the_scripts_run_with_a_trials_settings(tmp_path, monkeypatch):
    trials = article1.plan(args_of(seeds=2), None)
    assert {name: trial["input_space"] for name, trial in trials.items()} == {"seed1000": True, "seed1001": False}
    commands = []

    def succeed(command, **_):
        commands.append([str(word) for word in command[1:]])
        name = next(name for name, script in article1.SCRIPTS.items() if commands[-1][0].endswith(script))
        write(article1.Path(command[3]) / "results", **{name: script_record(name)})
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(article1.subprocess, "run", succeed)
    monkeypatch.setattr(article1, "accepted_by_images", lambda *_: {"cnn": {}})
    record = article1.run_trial("seed1000", trials["seed1000"], "somewhere", tmp_path)
    assert record["name"] == "seed1000" and record["settings"] == trials["seed1000"] and record["missing"] is None
    assert set(record["metrics"]) == {*article1.SCRIPTS, "images"} and set(record["flags"]) == set(article1.SCRIPTS)
    assert all({"--data", "somewhere", "--smoke"} <= set(command) for command in commands)
    assert ["--seed" in command for command in commands] == [True, True, False, False]
    assert ["--layered" in command for command in commands] == [False, False, False, True]


@pytest.mark.parametrize(
    ("code", "stderr", "words"),
    [(2, "a warning\nerror: what is wrong\n", "error: what is wrong"), (1, "", "exit code 1"), (-9, "", "was killed")],
)
def test_a_script_that_fails_is_named_with_the_reason(code, stderr, words, tmp_path, monkeypatch):
    monkeypatch.setattr(article1.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code, "", stderr))
    kind = TerminatedWorkerError if code < 0 else InputError  # a sweep tries again what was killed
    with pytest.raises(kind, match=rf"seed1000: train_cnn_baseline\.py: .*{words}"):
        article1.run_trial("seed1000", article1.plan(args_of(), None)["seed1000"], None, tmp_path)


def test_a_candidate_is_judged_on_validation_digits_and_training_outliers(tmp_path, data_folder, monkeypatch):
    seen, read = [], datasets.load_labelled
    monkeypatch.setattr(datasets, "load_labelled", lambda *what: seen.append(what[:2]) or read(*what))
    trials = article1.plan(args_of(choose=True, seeds=1), None)
    assert list(trials) == [f"choice/{name}/seed100" for name in article1.CANDIDATES]
    name, settings = list(trials.items())[1]
    record = {"name": name} | article1.run_trial(name, settings, data_folder, tmp_path)
    assert 0 < record["metrics"]["validation_accuracy"] <= 1 and ("fashion-mnist", "train") in seen
    assert ("fashion-mnist", "test") not in seen
    assert set(record["metrics"]["accepted_at_rejection"]["0.01"]) == {"Fashion-MNIST", "CIFAR-10"}
    assert "10 epochs,1," in article1.csvs([record])["article1_choice.csv"]
    assert article1.tables([record]) == {}, "a choice has no table"


def test_a_changed_record_changes_its_tables():
    before, changed = article1.tables(RECORDS), copy.deepcopy(RECORDS)
    changed[0]["metrics"]["cnn"]["accuracy"]["test"] -= 0.01
    changed[1]["metrics"]["lof"]["l2softmax"]["auroc"]["CIFAR-10"] -= 0.01
    after = article1.tables(changed)
    assert {name for name in before if before[name] != after[name]} == {"claims", "separation"}
    assert article1.csvs(changed) == article1.csvs(RECORDS)


def test_the_figures_show_what_the_records_say():
    line = article1.figures(RECORDS)["article1_roc.png"].axes[0].lines[0]
    rejected = [1 - np.array(record["metrics"]["lof"]["input"]["curve"]["Fashion-MNIST"]) for record in SEEDS]
    np.testing.assert_allclose(line.get_xydata(), 100 * np.stack([plots.CURVE, np.mean(rejected, axis=0)], axis=1))


def test_the_summary_has_the_articles_numbers_beside_ours():
    rows, caption, used = article1.summary_rows(RECORDS)
    accuracy = [[100 * r["metrics"][name]["accuracy"]["test"] for r in used] for name in article1.NETWORKS]
    ours = " → ".join(f"{np.mean(x):.2f} ± {np.std(x, ddof=1):.2f}" for x in accuracy)
    gain = np.subtract(*accuracy[::-1])
    low = gain.mean() - tables.half_width(gain)
    assert rows[0][1] == "99.01 → 99.31" and rows[0][2].startswith(f"{ours} [{low:.2f} to ")
    assert rows[0][3] == ("reproduced" if low > 0 else "not reproduced") and f"n = {len(used)}" in caption


def test_a_number_is_reproduced_within_two_standard_deviations_or_if_ours_is_better():
    ours = [0.1, 0.2, 0.3]  # mean 0.2, standard deviation 0.1
    cases = [(0.349, 0, True), (0.405, 0, True), (0.41, 0, False)]  # 0.005 is rounding
    cases += [(0.41, -1, True), (0.41, 1, False)]  # ours is lower: better, or worse
    for article, better, holds in cases:
        assert tables.number_holds(ours, article, 2, better) is holds
    assert tables.number_holds([0.2], 0.2, 2, 0) is None


def test_verdicts():
    assert tables.difference_holds(np.array([1.0, 2.0, 3.0, 2.0])) and tables.difference_holds(np.ones(1)) is None
    assert not tables.difference_holds(np.array([-1.0, 2.0, 3.0, 2.0])), "the interval has 0 in it"
    words = [tables.verdict(tests) for tests in [[True, True], [True, False], [False], [True, None]]]
    assert words == ["reproduced", "in part", "not reproduced", ""]


def test_without_cifar10_its_claims_say_so_and_the_others_stand():
    two = copy.deepcopy(SEEDS[:2])
    for record in two:
        for space in ["input", *article1.NETWORKS]:
            for key in ["accepted_at_contamination", "accepted_at_rejection"]:
                for shares in record["metrics"]["lof"][space][key].values():
                    shares.pop("CIFAR-10")
    rows = {" ".join(row[:2]): row for row in article1.claims(article1.measured(two)[1])}
    assert len(rows) == len(article1.claims(article1.measured(SEEDS)[1]))
    for title, row in rows.items():
        assert ("CIFAR-10 is missing" in row[3]) == (row[4] == "") == ("CIFAR" in title)


def test_one_run_stands_beside_the_seeds():
    made = article1.run_beside_seeds(SEEDS[:1], SEEDS)
    wrong = [record["metrics"]["l2softmax"]["wrong"] for record in SEEDS]
    theirs = f"{len(SEEDS)} seeds  {np.mean(wrong):.1f} ± {np.std(wrong, ddof=1):.1f}\n"
    other = copy.deepcopy(SEEDS[:1])
    other[0]["flags"]["l2softmax"]["epochs"] = 3
    assert "one draw" in made and "beside it: epochs 3." in article1.run_beside_seeds(other, SEEDS)
    assert re.search(rf"L2 leaves 69 .*\n +article +69\n +this run  {wrong[0]}\n +{re.escape(theirs)}", made)


def test_records_of_other_flags_are_not_averaged():
    first, other = copy.deepcopy(SEEDS[:2])
    other["flags"]["l2softmax"]["alpha"] = 8.0
    with pytest.raises(InputError, match=r"flags\.l2softmax\.alpha is 16\.0 in one and 8\.0 in the other"):
        article1.tables([first, other])


def test_what_has_another_n_than_the_caption_says_so():
    two = copy.deepcopy(SEEDS[:2])
    for key in ["metrics", "flags"]:
        two[1][key].pop("tsne")
    made = article1.tables(two)["tsne"]
    assert "(n = 1)" in made and "n = 2 seeds" in made


def test_the_scripts_last_run_is_one_seed_as_far_as_it_goes(tmp_path):
    assert article1.load_scripts(tmp_path) == []
    write(tmp_path, cnn=script_record("cnn"), lof=script_record("lof", missing="CIFAR-10 is left out"))
    (record,) = article1.load_scripts(tmp_path)
    assert record["settings"]["seed"] == 0 and record["missing"] == "CIFAR-10 is left out"
    found = record["metrics"]["cnn"]
    assert found["falls"] == 2 and found["best_minus_last"] == pytest.approx(0.02), "of the validation accuracy"
    assert set(article1.tables([record])) == {"claims", "lof", "separation"}


def test_scripts_of_different_seeds_or_networks_are_no_run(tmp_path):
    cnn, other = script_record("cnn", network="a"), script_record("l2softmax", network="c")
    write(tmp_path, cnn=cnn, l2softmax=other, tsne=script_record("tsne", networks={"cnn": "a", "l2softmax": "b"}))
    with pytest.raises(InputError, match=r"tsne\.json: made from another network than l2softmax\.json; run visualize"):
        article1.load_scripts(tmp_path)
    other["settings"]["seed"] = 5
    write(tmp_path, l2softmax=other)
    with pytest.raises(InputError, match=r"cnn\.json: seed 0, .*l2softmax\.json: seed 5"):
        article1.load_scripts(tmp_path)


@pytest.mark.slow
def test_a_seed_from_the_command_to_the_record(tmp_path, data_folder):
    flags = ["--smoke", "--seeds", 1, "--data", data_folder, "--out", tmp_path]
    assert "1 trials, 1 of them to run" in run("experiments.article1", *flags)
    (record,) = records.read_records(tmp_path / "results" / "article1.jsonl")
    assert set(record["metrics"]) - {"images"} == set(record["seconds"]) == set(article1.SCRIPTS)
    assert record["flags"]["l2softmax"]["alpha"] == 16 and "lof" in article1.tables([record])
