"""Turn records into tables and figures.

    python -m experiments.report                       # the committed records into README.md, docs/, figures/, results/
    python -m experiments.report --check               # exit code 1 if README.md or docs/ say something else
    python -m experiments.report --results FOLDER      # print the tables of the records in FOLDER
    python -m experiments.report --last-run            # print the tables of the scripts' last run

Reads   results/STUDY.jsonl of every study; results/{cnn,l2softmax,tsne,lof}.json, the scripts' last run (--last-run)
Writes  README.md, docs/*.md     the tables between their markers, <!-- NAME --> and <!-- /NAME -->
        results/*.csv            tables of what was chosen on validation data
        figures/*.png            (--results: CSV files in FOLDER, figures in FOLDER/../figures)
"""

import re
import sys
from pathlib import Path

from common import cli, plots
from common.cli import PROJECT
from common.records import read_records
from experiments import article1, article2, demo, scoreboard, speed, tables, unseen
from hypersphere.errors import InputError
from hypersphere.files import make_writable, replacing

# A study is a module with `tables(records)`, {marker: Markdown}, and, where it has any, `figures(records)`, {file:
# figure}, and `csvs(records)`, {file: text}. Its records are results/STUDY.jsonl.
STUDIES = {study.__name__.split(".")[1]: study for study in [article1, article2, scoreboard, unseen, demo, speed]}
RESULTS = PROJECT / "results"
MARKERS = re.compile(r"<!-- ([\w-]+) -->\n.*?<!-- /\1 -->", re.DOTALL)


def load(folder):
    """The records of the studies that have any in a folder, {study: [records]}; InputError if one is damaged."""
    found = {study: read_records(folder / f"{study}.jsonl") for study in STUDIES}
    return {study: lines for study, lines in found.items() if lines}


def made_by_studies(what, records):
    """What the studies make of their records, `what` being "tables", "figures" or "csvs": {name: made}."""
    made = {}
    for study, found in records.items():
        made |= getattr(STUDIES[study], what, lambda _: {})(found)
    return made


def all_tables(records):
    """Every table that the records allow, {marker: Markdown}; "summary" has the claims of both articles."""
    made, rows, captions, used = {}, [], [], []
    for study in ["article1", "article2"]:
        if study in records:
            found = STUDIES[study].summary_rows(records[study])
            rows, captions, used = rows + found[0], [*captions, found[1]], used + found[2]
    if rows:
        caption = tables.caption(used, "; ".join(filter(None, captions)), cifar10=True)
        made["summary"] = tables.markdown(["claim", "article", "ours", "verdict"], rows, caption)
    return made | made_by_studies("tables", records)


def fill_in(text, page, made):
    """The text of a page with each of its tables between its markers; InputError if one was not made."""
    for name in MARKERS.findall(text):
        if name not in made:
            raise InputError(f"{page}: the records have nothing for its table {name}; restore results/ or its markers")
    return MARKERS.sub(lambda match: f"<!-- {match[1]} -->\n\n{made[match[1]]}\n\n<!-- /{match[1]} -->", text)


def show(made, records):
    """Print tables, {title: Markdown}, and what their records say is missing."""
    for title, table in made.items():
        print(f"## {title.replace('_', ' ')}\n\n{table}\n")
    for missing in dict.fromkeys(record["missing"] for record in records if record.get("missing")):
        print(f"{missing}\n")


def show_last_run(folder, figures):
    """Print the last run's tables, its claims beside those of the committed seeds, and where its figures are."""
    run = article1.load_scripts(folder)
    if not run:
        raise InputError(f"{folder}: no records; run the scripts first")
    made = {"this run": article1.run_beside_seeds(run, read_records(RESULTS / "article1.jsonl"))} | article1.tables(run)
    show({title: table for title, table in made.items() if title not in ("claims", "network")}, run)
    print(f"figures: {figures}")


def main():
    parser = cli.Parser(__doc__)
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="print the tables of the records in FOLDER")
    parser.add_argument("--last-run", action="store_true", help="print the tables of the scripts' last run alone")
    parser.add_argument("--check", action="store_true", help="compare the pages with the records; write nothing")
    parser.add_argument("--debug", action="store_true", help="show an error's traceback")
    args = parser.parse_args()
    cli.install_error_hook(args.debug)
    folder = args.results or RESULTS
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the results/ of a run")
    figures = folder.resolve().parent / "figures"
    if args.last_run:
        show_last_run(folder, figures)
        return
    records = load(folder)
    made, texts = all_tables(records), {folder / name: text for name, text in made_by_studies("csvs", records).items()}
    if not made and not texts:
        raise InputError(f"{folder}: no records; run a study first")
    if args.results:
        show(made, [record for lines in records.values() for record in lines])
    else:
        for path in [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]:
            texts[path] = fill_in(path.read_text(encoding="utf-8"), path.name, made)
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if args.check:
        for path in stale:
            print(f"{path}: not what the records say; run python -m experiments.report")
        sys.exit(1 if stale else 0)
    for path in stale:
        with replacing(path) as beside:
            beside.write_text(texts[path], encoding="utf-8")
        print(f"wrote {path}")
    make_writable(figures)
    for name, figure in made_by_studies("figures", records).items():
        plots.save(figure, figures / name)


if __name__ == "__main__":
    main()
