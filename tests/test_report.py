"""Tables from records: statistics at known values, what may be averaged, and the pages against the records."""

import json
import re
import shutil

import numpy as np
import pytest

from common import records
from conftest import PROJECT, run
from experiments import report
from experiments.old_tables import article1, article2, common, differences, unseen
from hypersphere.errors import InputError

RECORDS = report.load(report.RESULTS)


def test_readme_and_pages_say_what_the_records_say():
    run("experiments.report", "--check")


def test_committed_records_are_complete():
    names = [record["name"] for of in RECORDS.values() for record in of]
    assert len({record["settings"]["seed"] for record in RECORDS["article1"]}) >= 10
    for record in [record for of in RECORDS.values() for record in of]:
        assert {"name", "settings", "metrics", "seconds", "versions", "revision", "machine"} <= set(record)
        assert not record["settings"].get("smoke")
    for experiment in ["article1", "article2", "scoreboard"]:
        assert len({record["name"] for record in RECORDS[experiment]}) == len(RECORDS[experiment]), names


def test_planned_contrasts_are_paired_by_draw_and_corrected_over_all_six():
    def auroc(head, scorer):
        found = {
            record["settings"]["seed"]: record["metrics"]["auroc"][scorer]
            for record in RECORDS["article2"]
            if record["name"].startswith(f"cifar10-deer-horse/cnn/{head}-seed")
        }
        return np.array([found[seed] for seed in sorted(found)])

    lines = differences.contrasts(RECORDS["article2"])["contrasts"].splitlines()[2:8]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[1] for row in rows] == ["sneaker", "deer"] * 3
    assert float(rows[1][2]) == pytest.approx(np.mean(auroc("arcface", "cosine") - auroc("adacos", "cosine")), abs=6e-4)
    assert float(rows[5][2]) == pytest.approx(np.mean(auroc("arcface", "cosine") - auroc("arcface", "lof20")), abs=6e-4)
    assert min(float(row[5]) for row in rows) >= 6 * 2 / 2**10 - 6e-4, "ten draws, Wilcoxon, Holm over six"


def test_unseen_classes_are_compared_by_seed():
    def record(head, seed, map_at_r):
        enrolment = {count: {"new": 0.5, "all": 0.25} for count in ["1", "5", "20"]}
        metrics = {"recall_at_1": 0.75, "map_at_r": map_at_r, "enrolment": enrolment}
        settings = {"head": head, "seed": seed, "precision": "float32"}
        machine = {"cpu": "a processor", "cores": 2}
        return {"name": f"mnist/{head}-seed{seed}", "settings": settings, "metrics": metrics, "machine": machine}

    found = [record("softmax", seed, 0.3 + 0.1 * seed) for seed in range(3)]
    made = unseen.tables(found + [record("l2softmax", seed, 0.35 + 0.1 * seed) for seed in reversed(range(3))])
    assert "| softmax    | 0.750 ± 0.000 | 0.400 ± 0.100 | 0.50 / 0.50 / 0.50" in made["unseen_mnist"]
    assert "| +0.050              | +0.050 to +0.050 | 3 of 3" in made["unseen_contrasts"]
    assert set(made) == {"unseen_mnist", "unseen_contrasts"}, "no network has rejected anything"


def test_scales_and_recipes_of_unseen_classes():
    def record(settings, precision):
        metrics = {"recall_at_1": 0.9, "map_at_r": precision, "known_accuracy": 0.99}
        metrics["enrolment"] = {"5": {"new": precision + 0.1}}
        settings = {"dataset": "mnist", "head": "cosface", "precision": "float32"} | settings
        machine = {"cpu": "a processor", "cores": 2}
        return {"name": f"mnist/{settings}", "settings": settings, "metrics": metrics, "machine": machine}

    of_scales = [
        record({"head_arguments": {"scale": scale, "margin": 0.0}, "seed": seed}, scale / 100 + seed / 10)
        for scale in [32.0, 4.0]
        for seed in range(2)
    ]
    table = unseen.scales(of_scales)["unseen_scales"]
    assert table.index("| 4 ") < table.index("| 32 ") and "0.370 ± 0.071" in table
    (figure,) = unseen.figures([], of_scales).values()
    assert figure.axes[0].get_xlabel() == "scale s of the cosines"
    recipes = [
        record({"recipe_name": name, "seed": 100, "pair": pair}, 0.4 + 0.1 * pair[0])
        for name in ["a", "b"]
        for pair in [(0, 1), (2, 4)]
    ]
    made = unseen.choice(recipes)["unseen_choice"]
    assert "| b                                | 0.500; 0.600" in made and "n = 2 pairs" in made


def test_a_changed_record_changes_its_tables():
    before = report.tables_of(RECORDS)
    changed = json.loads(json.dumps(RECORDS))
    changed["article1"][0]["metrics"]["cnn"]["accuracy"]["test"] -= 0.01
    changed["article1"][1]["metrics"]["lof"]["l2softmax"]["auroc"]["CIFAR-10"] -= 0.01
    after = report.tables_of(changed)
    assert {name for name in before if before[name] != after[name]} == {"accuracy", "summary", "separation"}


def test_fill_in_replaces_what_stands_between_the_markers(monkeypatch):
    monkeypatch.setitem(report.PAGES, "page", ["t"])
    text = "a\n<!-- t -->\nold\n\nold\n<!-- /t -->\nb"
    assert report.fill_in(text, "page", {"t": r"new \1"}) == "a\n<!-- t -->\n\nnew \\1\n\n<!-- /t -->\nb"
    with pytest.raises(InputError, match="markers <!-- t -->"):
        report.fill_in("nothing", "page", {"t": "x"})
    with pytest.raises(InputError, match="nothing for its table t"):
        report.fill_in(text, "page", {})


def test_statistics_at_known_values():
    assert common.spread([0.5], 2, 100) == "50.00" and common.spread([1, 2, 3], 1) == "2.0 ± 1.0"
    assert common.cell([1, 2, 3], 5, 1) == "2.0 ± 1.0 (n = 3)"
    np.testing.assert_allclose(differences.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    difference = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    row = differences.one_difference(difference)
    # Student's t for 5 degrees of freedom; the exact Wilcoxon p of six equal signs is 2 / 2**6.
    assert row["half_width_95"] == pytest.approx(2.570582 * difference.std(ddof=1) / np.sqrt(6), rel=1e-5)
    assert row["wilcoxon_p"] == pytest.approx(2 / 64) and row["seeds_higher"] == row["n"] == 6
    assert differences.one_difference(np.zeros(4))["wilcoxon_p"] == 1


def test_the_articles_medians():
    medians = [[np.median(values) for values in by_head.values()] for by_head in article2.ARTICLE_AUROC.values()]
    np.testing.assert_allclose(medians, [[0.915, 0.940, 0.940], [0.835, 0.805, 0.800]])


def seeds(**changes):
    """Two records of article 1, the second with other settings."""
    pair = json.loads(json.dumps(RECORDS["article1"][:2]))
    pair[1]["settings"] |= changes
    return pair


def test_only_like_records_are_averaged():
    with pytest.raises(InputError, match=r"cifar10_sha256 is .* do not belong into one table"):
        article1.tables(seeds(cifar10_sha256=None))
    with pytest.raises(InputError, match="2 with seed"):
        article1.tables(seeds(seed=RECORDS["article1"][0]["settings"]["seed"]))
    assert "another (1)" in article1.tables(seeds(precision="another"))["accuracy"]
    pair = seeds()
    pair[1]["flags"]["l2softmax"]["alpha"] = 8.0
    with pytest.raises(InputError, match=r"flags\.l2softmax\.alpha is 16\.0 in one and 8\.0 in the other"):
        article1.tables(pair)


def test_maps_of_some_seeds_alone_say_how_many():
    pair = seeds()
    for key in ["metrics", "flags"]:
        pair[1][key].pop("tsne")
    assert article1.tables(pair)["tsne"].count("(n = 1)") == 12


def test_n_is_visible_and_what_has_another_n_says_so():
    tables = report.tables_of(RECORDS)
    n, precision = len(RECORDS["article1"]), RECORDS["article1"][0]["settings"]["precision"]
    assert f"*n = {n} seeds; {precision}" in tables["lof"] and "JPEG copy" in tables["lof"]
    (row,) = [line for line in tables["separation"].splitlines() if line.startswith("| the input space")]
    assert row.count("(n = 1)") == 3, "LOF on the pixels knows no seed"


def test_partial_results_are_printed_as_far_as_they_go(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    with pytest.raises(InputError, match="no records"):
        run("experiments.report", "--results", folder)
    one = json.loads(json.dumps(RECORDS["article1"][0]))
    for name in ["cnn", "lof"]:
        single = {"name": name, "settings": one["flags"][name], "metrics": one["metrics"][name]}
        single |= {key: one[key] for key in ["versions", "machine", "revision"]} | {"seconds": 1, "peak_memory_mb": 1}
        records.write_record(folder / f"{name}.json", single)
    for line in [record for record in RECORDS["article2"] if "sneaker-ankle_boot/cnn/" in record["name"]][:12]:
        records.append_record(folder / "article2.jsonl", line)
    printed = run("experiments.report", "--results", folder)
    assert "## accuracy" in printed and "## heads sneaker" in printed and "tsne" not in printed
    assert {path.name for path in (tmp_path / "figures").iterdir()} >= {"article2_sneaker.png"}
    with pytest.raises(InputError, match="no such folder"):
        run("experiments.report", "--results", tmp_path / "nowhere")
    (folder / "article2.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"article2\.jsonl, line 1: damaged"):
        run("experiments.report", "--results", folder)


def test_every_link_of_the_pages_leads_somewhere():
    for page in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md"), *PROJECT.glob("*/README.md")]:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"
        anchors = {
            re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        for anchor in re.findall(r"\]\(#([^)]+)\)", text):
            assert anchor in anchors, f"{page}: #{anchor}"


def test_pages_are_short():
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 150
    assert len((PROJECT / "README.md").read_bytes()) <= 12_000
    assert all(len(page.read_text().splitlines()) <= 250 for page in (PROJECT / "docs").glob("*.md"))


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_runs_a_stage_only_when_it_must(tmp_path):
    import subprocess

    def planned(*flags):
        command = ["make", "--dry-run", *flags]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return [script for script in article1.SCRIPTS.values() if f"python {script}" in done.stdout]

    for name in ["Makefile", "requirements.txt", *article1.SCRIPTS.values()]:
        shutil.copy(PROJECT / name, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert planned() == planned("FLAGS=--smoke") == list(article1.SCRIPTS.values())
    assert sorted(tmp_path.rglob("*")) == before, "a dry run leaves nothing behind"
    (tmp_path / "results").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in [".venv/bin/python", ".venv/run", *(f"results/{name}.json" for name in article1.SCRIPTS)]:
        (tmp_path / name).touch()
    assert planned() == []
    assert planned("-W", "anomaly_lof.py") == ["anomaly_lof.py"]
    assert planned("-W", "train_cnn_baseline.py") == ["train_cnn_baseline.py", "visualize_tsne.py", "anomaly_lof.py"]
