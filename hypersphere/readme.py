"""Put the tables of the committed records into the README: `python -m hypersphere.readme`."""

import re

from hypersphere import comparison, demo_tables, errors, outlier_tables, speed_tables, tables
from hypersphere.errors import InputError
from hypersphere.runs import PROJECT, read_record, replacing

README = PROJECT / "README.md"
BENCHMARKS_FOLDER = PROJECT / "results" / "benchmarks"
SCOREBOARD_FOLDER = PROJECT / "results" / "scoreboard"
HEADS_FOLDERS = {
    "sneaker": PROJECT / "results" / "article2" / "fashion_mnist-sneaker-ankle_boot",
    "deer": PROJECT / "results" / "article2" / "cifar10-deer-horse",
}


def readme_tables():
    """The README's tables, {marker name: Markdown}, from the committed records."""
    seeds, in_float32 = tables.load_seeds(), tables.load_seeds(tables.FLOAT32_FOLDER)
    result = tables.all_tables(seeds) | {"precision": tables.summary(seeds, **{"ours in float32": in_float32})}
    names = ["speed", "growth", "whole", "demo"]
    speed, growth, whole, demo = (read_record(BENCHMARKS_FOLDER / f"{name}.json", "run `make bench`") for name in names)
    result |= {"stages": speed_tables.stages(speed), "floors": speed_tables.floors(speed)}
    result |= {"growth": speed_tables.growth(growth), "cost": speed_tables.cost(whole)}
    result |= {"demo_pictures": demo_tables.pictures(demo), "demo_latency": demo_tables.latency(demo)}
    result |= outlier_tables.all_tables(outlier_tables.load_records(SCOREBOARD_FOLDER))
    records = {name: comparison.load_records(folder / "cnn") for name, folder in HEADS_FOLDERS.items()}
    result |= {"heads": comparison.summary(records.values()), "heads_cost": comparison.cost(records.values())}
    for name, folder in HEADS_FOLDERS.items():
        legacy = comparison.load_records(folder / "cnn-legacy")
        result[f"legacy_{name}"] = comparison.legacy_table(records[name], legacy)
        result[f"heads_{name}"] = comparison.auroc_table(records[name])
        for scorer in comparison.SCORERS:
            result[f"differences_{name}_{scorer}"] = comparison.difference_table(records[name], scorer)
    return result


def fill_in(text, rendered):
    """The text with each table put between its markers, `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises InputError if the text lacks a table's markers.
    """
    for name, table in rendered.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise InputError(f"README.md: the markers <!-- {name} --> and <!-- /{name} --> are missing; put them back")
        text = pattern.sub(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", text)
    return text


def main():
    errors.show_in_one_line()
    text = fill_in(README.read_text(), readme_tables())
    with replacing(README) as beside:
        beside.write_text(text)


if __name__ == "__main__":
    main()
