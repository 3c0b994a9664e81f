"""Turn records into tables and figures.

    python -m experiments.report                       # the committed records into README.md and docs/
    python -m experiments.report --check               # exit code 1 if README.md or docs/ say something else
    python -m experiments.report --results FOLDER      # print the tables of the records in FOLDER
    python -m experiments.report --last-run            # print the tables of the scripts' last run

Reads   results/{article1,choice,article2,article2_bfloat16,scoreboard,speed,demo,signs}.jsonl
        results/{unseen,unseen_choice,unseen_scales,ensemble,evidence}.jsonl
        results/{cnn,l2softmax,tsne,lof}.json, the last run of the scripts (--last-run, or without article1.jsonl)
Writes  README.md, docs/*.md                 the tables between their markers, <!-- NAME --> and <!-- /NAME -->
        results/article2_differences.csv     every two heads, compared seed by seed
        figures/article2_*.png, figures/scoreboard_reliability.png, figures/unseen_scales.png
        (--results: the CSV file in FOLDER, the figures in FOLDER/../figures)
"""

import re
import sys
from pathlib import Path

from common import cli, plots
from common.cli import PROJECT
from common.records import read_record, read_records
from experiments.tables import article1, article2, differences, scoreboard, speed, unseen
from experiments.tables.common import below, caption, counted, markdown
from hypersphere.errors import InputError
from hypersphere.files import make_writable, replacing

RESULTS = PROJECT / "results"
EXPERIMENTS = [
    *["article1", "choice", "article2", "article2_bfloat16", "unseen", "unseen_choice", "unseen_scales"],
    *["scoreboard", "ensemble", "evidence", "speed", "demo", "signs"],
]
PAGES = {
    "README.md": ["summary"],
    "docs/article1.md": ["accuracy", "tsne", "lof", "separation", "calibrated", "cost", "choice"],
    "docs/article2.md": [
        *["contrasts", "heads_sneaker", "heads_deer", "ways", "best"],
        *["legacy_sneaker_test", "legacy_deer_test", "heads_cost"],
    ],
    "docs/scoreboard.md": ["board", "board_easy", "accepted", "calibration", "parts", "recipes", "detector_seconds"],
    "docs/unseen.md": [
        *["unseen_contrasts", "unseen_mnist", "unseen_fashion_mnist"],
        *["unseen_rejection_mnist", "unseen_rejection_fashion_mnist", "unseen_scales", "unseen_choice"],
    ],
    "docs/near.md": ["near", "near_accepted", "near_parts", "near_calibration", "near_seconds", "evidence"],
    "docs/demo.md": ["demo_pictures", "demo_signs", "demo_latency"],
    "docs/speed.md": ["stages", "precision"],
}
MARKERS = re.compile(r"<!-- ([\w-]+) -->\n.*?<!-- /\1 -->", re.DOTALL)


def load(folder):
    """The records of a folder, {experiment: [records]}; raises InputError if one is damaged."""
    return {name: read_records(folder / f"{name}.jsonl") for name in EXPERIMENTS}


def load_scripts(folder):
    """The records that the four scripts left in a folder, together as one seed: [a record], or [] if there is none."""
    made = {
        name: read_record(folder / f"{name}.json", f"run {script} again")
        for name, script in article1.SCRIPTS.items()
        if (folder / f"{name}.json").is_file()
    }
    if not made:
        return []
    flags = {name: record["settings"] for name, record in made.items()}
    settings = {key: next((of[key] for of in flags.values() if key in of), None) for key in ["seed", "smoke"]}
    settings["precision"] = " and ".join(dict.fromkeys(of["precision"] for of in flags.values() if "precision" in of))
    if "lof" in made:
        settings["cifar10_sha256"] = flags["lof"].get("cifar10_sha256")
    by_script = {key: {name: r[key] for name, r in made.items()} for key in ["metrics", "seconds", "peak_memory_mb"]}
    last = list(made.values())[-1]
    rest = {key: last.get(key) for key in ["versions", "revision", "machine"]}
    missing = made.get("lof", {}).get("missing")
    return [{"name": "this run", "settings": settings, "flags": flags, "missing": missing} | by_script | rest]


def tables_of(records):
    """Every table that the records allow, {marker: Markdown}, and in the order of the pages."""
    made = (
        summary(records) | article1.tables(records["article1"]) | article1.choice(records["choice"], records["speed"])
    )
    made |= speed.cost_of_scripts(records["article1"])
    made |= article2.tables(records["article2"]) | differences.contrasts(records["article2"])
    made |= differences.precision(records["article2"], records["article2_bfloat16"])
    made |= unseen.tables(records["unseen"]) | unseen.choice(records["unseen_choice"])
    made |= unseen.scales(records["unseen_scales"])
    made |= scoreboard.tables(records["scoreboard"]) | scoreboard.ensemble_tables(records["ensemble"])
    made |= scoreboard.evidence(records["evidence"])
    made |= speed.demo_tables(records["demo"]) | speed.sign_tables(records["signs"]) | speed.tables(records["speed"])
    order = [marker for markers in PAGES.values() for marker in markers]
    return {marker: made[marker] for marker in sorted(made, key=lambda m: order.index(m) if m in order else len(order))}


def summary(records):
    """The main numbers of both articles beside ours, {"summary": Markdown}."""
    rows, counts = [], []
    if records["article1"]:
        rows += article1.summary_rows(records["article1"])
        counts.append(f"article 1: {counted(len(records['article1']))}")
    of_pairs = [pair for folder, pair in article2.pairs(records["article2"]).items() if folder in article2.PAIRS]
    if of_pairs:
        rows += article2.summary_rows(records["article2"])
        n = counted(max(pair.n for pair in of_pairs))
        counts.append(f"article 2: {n}, the article's networks from ImageNet weights, ours from scratch")
    if not rows:
        return {}
    used = [*records["article1"], *(record for pair in of_pairs for record in pair.records)]
    return {"summary": below(markdown(["", "article", "ours"], rows), caption(used, "; ".join(counts), cifar10=True))}


def fill_in(text, page, tables):
    """The text of a page with each of its tables between its markers.

    Raises InputError if the page lacks a marker, has one that no table belongs to, or a table was not made.
    """
    found = [match[1] for match in MARKERS.finditer(text)]
    for name in PAGES[page]:
        if name not in found:
            raise InputError(f"{page}: the markers <!-- {name} --> and <!-- /{name} --> are missing; put them back")
        if name not in tables:
            raise InputError(f"{page}: the records have nothing for its table {name}; restore results/")
    for name in found:
        if name not in PAGES[page]:
            raise InputError(f"{page}: no table belongs between the markers of {name}; take them out")
    return MARKERS.sub(lambda match: f"<!-- {match[1]} -->\n\n{tables[match[1]]}\n\n<!-- /{match[1]} -->", text)


def pages(tables):
    """The pages that there are, {path: text as it should be}."""
    paths = {PROJECT / page: page for page in PAGES if (PROJECT / page).is_file()}
    return {path: fill_in(path.read_text(encoding="utf-8"), page, tables) for path, page in paths.items()}


def write(path, text):
    """Write a text file, whole or not at all, if it is not there yet as it is."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


def draw(records, folder):
    """Save the figures that the records allow."""
    figures = differences.figures(records["article2"]) | scoreboard.figures(records["scoreboard"])
    figures |= unseen.figures(records["unseen"], records["unseen_scales"])
    if figures:
        make_writable(folder)
    for name, figure in figures.items():
        plots.save(figure, folder / name)


def show(folder, last_run):
    """Print the tables of the records in a folder, and write their differences and figures.

    last_run : only of the scripts' last run, which is left out otherwise if the folder has article 1's seeds.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the results/ of a run")
    records, run = load(folder) if not last_run else {name: [] for name in EXPERIMENTS}, load_scripts(folder)
    records["article1"] = records["article1"] or run
    tables = tables_of(records)
    if not tables:
        raise InputError(
            f"{folder}: no records; run {'the scripts' if last_run else 'an experiment or the scripts'} first"
        )
    for name, table in tables.items():
        print(f"## {name.replace('_', ' ')}\n\n{table}\n")
    for missing in dict.fromkeys(filter(None, (record.get("missing") for of in records.values() for record in of))):
        print(f"{missing}\n")
    text, figures = differences.differences_csv(records["article2"]), folder.resolve().parent / "figures"
    if text:
        write(folder / "article2_differences.csv", text)
    draw(records, figures)
    if last_run:
        made = [path for name in article1.SCRIPTS for path in sorted(figures.glob(f"{name}*.png"))]
        print("figures:", *made, sep="\n  ")


def main():
    parser = cli.Parser(__doc__)
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="print the tables of the records in FOLDER")
    parser.add_argument("--last-run", action="store_true", help="print the tables of the scripts' last run alone")
    parser.add_argument("--check", action="store_true", help="compare the pages with the records; write nothing")
    parser.add_argument("--debug", action="store_true", help="show an error's traceback")
    args = parser.parse_args()
    cli.install_error_hook(args.debug)
    if args.results or args.last_run:
        show(args.results or RESULTS, args.last_run)
        return
    records = load(RESULTS)
    texts = pages(tables_of(records)) | {
        RESULTS / "article2_differences.csv": differences.differences_csv(records["article2"])
    }
    if args.check:
        stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path}: not what the records say; run python -m experiments.report")
        if stale:
            sys.exit(1)
        return
    for path, text in texts.items():
        write(path, text)
    draw(records, PROJECT / "figures")


if __name__ == "__main__":
    main()
