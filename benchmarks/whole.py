"""Time `make`: article 1 with one seed, from the data to tables and figures, installation not counted.

    make bench                                  # all benchmarks
    python -m benchmarks.whole                  # this one, as long as `make`

Writes  results/whole.json     seconds of all and of each script, peak memory of each, versions, machine

What `make` writes goes into a folder that is removed.
"""

import functools
import subprocess
import tempfile
import time
from pathlib import Path

from hypersphere import runs, speed_tables, tables
from hypersphere.errors import InputError

parser = runs.Parser(__doc__)
args = parser.parse()
make = functools.partial(subprocess.run, cwd=runs.PROJECT)
if make(["make", ".venv/run"]).returncode:
    raise InputError("make could not set up .venv; run it to see why")
started = time.perf_counter()
with tempfile.TemporaryDirectory() as folder:
    command = ["make", f"OUT={folder}"] + [f"{flags}=--smoke" for flags in ["FLAGS", "LOF_FLAGS"] if args.smoke]
    command += [f"DATA={args.data}"] if args.data else []
    if make(command).returncode:
        raise InputError("make failed; run it to see why")
    seconds = time.perf_counter() - started
    records = tables.load_records(Path(folder) / "results")
scripts = {name: {key: record[key] for key in ["seconds", "peak_memory_mb"]} for name, record in records.items()}
path = runs.write_record(args, "whole", {"seconds": seconds, "scripts": scripts}, started)
print(speed_tables.cost(runs.read_record(path, "run again")))
