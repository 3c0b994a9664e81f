"""What the studies' tables share: Markdown, mean ± sd, captions, paired differences, and the check of settings."""

import json
from collections import Counter

import numpy as np
import pandas as pd
from scipy import stats

from common.records import CIFAR10_SETTINGS
from hypersphere.errors import InputError

CIFAR10 = {  # by SHA-256 of the five training files
    "a0181da372c0d63a5920fdbea2ec3f83ecbc552d378218e1cb473cf634941a3b": "official training images",
    None: "left out",
}
# Settings that may differ within a mean: the repeats, and what a table's caption names or shows as a missing row.
FREE = {"seed", "precision", "input_space"}
VERSIONS = ["python", "tensorflow", "tensorflow-cpu", "keras", "scikit-learn"]  # those that a caption names


def markdown(header, rows, *below):
    """A Markdown table whose columns line up in a terminal too, with further paragraphs below it."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    cells.insert(1, ["-" * width for width in widths])
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return "\n\n".join(["\n".join(f"| {' | '.join(line)} |" for line in lines), *below])


def spread(values, digits, factor=1.0):
    """ "mean ± standard deviation" of the values, or the value alone if there is one; a count as a whole number."""
    values = np.asarray(values) * factor
    if len(values) == 1:
        return f"{values[0]:.{0 if values.dtype.kind == 'i' else digits}f}"
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


def half_width(values):
    """Half the width of the 95% interval of a mean (Student's t)."""
    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


def note(values, n):
    """ " (n = 1)" if the number of values is not the caption's n."""
    return "" if len(values) == n else f" (n = {len(values)})"


def cell(values, n, digits, factor=1.0, unit=""):
    """The spread of the values with their unit, and how many there are if the caption says another n."""
    return spread(values, digits, factor) + unit + note(values, n) if len(values) else ""


def leaves(tree, path=()):
    """The numbers in nested dictionaries, with the keys that lead to each."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def require_alike(records, free=()):
    """Raises InputError if two records differ in a setting that is not in FREE or `free`, or are the same trial's."""
    for record in records[1:]:
        settings = [dict(leaves(r["settings"] | {"flags": r.get("flags", {})})) for r in (records[0], record)]
        for path in settings[0] | settings[1]:
            values = [one.get(path) for one in settings]
            if path[0] == "flags" and not all(path[1] in r.get("flags", {}) for r in (records[0], record)):
                continue  # a script that one of them did not run
            if values[0] != values[1] and path[-1] not in FREE and not {path[0], path[-1]} & set(free):
                words = f"{'.'.join(path)} is {values[0]} in one and {values[1]} in the other"
                remedy = "they do not belong into one table: keep them in different files"
                raise InputError(f"records {records[0]['name']} and {record['name']}: {words}; {remedy}")
    trials = [(record["name"], record["settings"]["seed"]) for record in records]
    settings = [json.dumps(record["settings"], sort_keys=True) for record in records]  # equal under another name, too
    for (name, seed), own in zip(trials, settings, strict=True):
        if (count := max(trials.count((name, seed)), settings.count(own))) > 1:
            raise InputError(f"records {name}: {count} with seed {seed}; delete all but one of the lines")


def caption(records, n, unit="seed", cifar10=False, versions=False):
    """The line in italics below a table: how many repeats, which precision, machine, CIFAR-10 and versions.

    n : a number of repeats, or words; cifar10 : whether the table has numbers of it.
    """
    parts = [f"n = {n} {unit}{'s' * (n > 1)}" if isinstance(n, int) else n]
    parts += [named(record["settings"].get("precision") for record in records)]
    parts += [named("{cpu}, {cores} cores".format(**record["machine"]) for record in records)]
    if cifar10:
        keys = CIFAR10_SETTINGS.values()
        copies = [record["settings"][key] for record in records for key in keys if key in record["settings"]]
        words = named(CIFAR10.get(copy, f"SHA-256 {str(copy)[:8]}") for copy in copies)
        parts += [f"CIFAR-10: {words}"] if copies else []
    if versions:
        found = [record["versions"].items() for record in records]
        parts += [named(", ".join(f"{name} {value}" for name, value in items if name in VERSIONS) for items in found)]
    if any(record["settings"].get("smoke") for record in records):
        parts += ["a smoke run: a slice of the data"]
    return f"*{'; '.join(filter(None, parts))}*"


def named(values):
    """The value that all have in common, or each with how many have it."""
    counts = Counter(filter(None, values))
    if len(counts) < 2:
        return "".join(counts)
    return "mixed: " + " and ".join(f"{value} ({count})" for value, count in counts.items())


def contrasts_table(found, group, measure, unit, records, cifar10=False, least=2):
    """The Markdown of contrasts, [(title, name of the group, paired differences, (n,)), ...], "" if there are none.

    Student's intervals; p-values by Wilcoxon's signed-rank test, after Holm's correction over all. Contrasts of fewer
    differences than `least` are left out. unit, records, cifar10 : of the caption.
    """
    found = [contrast for contrast in found if len(contrast[2]) >= least]
    if not found:
        return ""
    p_values = pd.Series([stats.wilcoxon(values).pvalue if np.any(values) else 1.0 for *_, values in found])
    times = p_values.sort_values() * np.arange(len(found), 0, -1)  # Holm: sorted, times m, m - 1, ..., never falling
    rows = []
    for (title, name, values), p_value in zip(found, times.cummax().clip(upper=1).sort_index(), strict=True):
        mean, half = values.mean(), half_width(values)
        interval, higher = f"{mean - half:+.3f} to {mean + half:+.3f}", f"{np.sum(values > 0)} of {len(values)}"
        rows.append([title, name, f"{mean:+.3f}", interval, higher, f"{p_value:.3f}"])
    header = ["planned contrast", group, f"difference of {measure}", "95% interval", f"{unit}s higher", "p, Holm"]
    least, most = (function(len(values) for *_, values in found) for function in [min, max])
    n = most if least == most else f"n = {least} to {most} {unit}s"
    return markdown(header, rows, caption(records, n, unit, cifar10))


def number_holds(values, article, digits, better=0):
    """Whether the article's number lies within two standard deviations of ours and its own rounding, or ours is better.

    digits : that the article gives; better : 1 if more is better, -1 if less is, 0 if neither. None of a single value.
    """
    if len(values) < 2:
        return None
    gap, tolerance = np.mean(values) - article, 2 * np.std(values, ddof=1) + 0.5 * 10.0**-digits
    return bool(abs(gap) <= tolerance or better * gap > 0)


def difference_holds(differences):
    """Whether the 95% interval of the mean of paired differences lies above 0. None of a single value."""
    return bool(np.mean(differences) > half_width(differences)) if len(differences) > 1 else None


def verdict(tests):
    """The word for what several tests came to; "" if one could not be made."""
    if None in tests:
        return ""
    return "reproduced" if all(tests) else "in part" if any(tests) else "not reproduced"
