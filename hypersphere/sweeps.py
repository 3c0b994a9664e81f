"""Sweeps: independent trainings, several at a time, each with a record of its own."""

import contextlib
import os
import time
import warnings
from dataclasses import asdict

from hypersphere import runs
from hypersphere.errors import InputError

import joblib

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's names


class Trial:
    """What decides the result of one training: a frozen dataclass whose record keeps all of it.

    A subclass has a `name`, that of its record, with folders.
    """

    @property
    def flags(self):
        """What the record says decided it."""
        return asdict(self)

    def record_path(self, out):
        """The file of its record under `out`."""
        return out / "results" / f"{self.name}.json"

    def read_record(self, out):
        """Its record; InputError if the file is damaged."""
        return runs.read_record(self.record_path(out), "delete it and run again")

    def is_recorded(self, out):
        """Whether this trial's record is there already; InputError if it was made with other settings."""
        if not self.record_path(out).is_file():
            return False
        flags = self.read_record(out)["flags"]
        differing = [key for key, value in self.flags.items() if flags.get(key) != value]
        if differing:
            path = self.record_path(out)
            raise InputError(f"{path}: made with another {', '.join(differing)}; delete it or give another --out")
        return True


def add_flags(parser):
    """The flags of every sweep: --precision and --jobs."""
    parser.add_argument(
        "--precision", choices=list(POLICIES), default=runs.fastest_precision(), help="on this machine %(default)s"
    )
    parser.add_argument("--jobs", type=runs.positive_int, default=min(os.cpu_count(), 4), help="at a time, %(default)s")


def run(function, planned, args, describe):
    """Run the trials that have no record yet, each in a process, --jobs at a time, and print each one's end.

    function : called with a trial, args.data and args.out; returns the trial and its metrics.
    describe : metrics to the words of the progress line.
    """
    todo = [trial for trial in planned if not trial.is_recorded(args.out)]
    print(f"{len(planned)} trials, {len(todo)} of them to run, {args.jobs} at a time", flush=True)
    # A trial is one core's work, so its result does not depend on --jobs. Worker processes inherit this.
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    # TensorFlow keeps about 40 MB of every trial; joblib, with psutil, replaces a worker that has grown by 300 MB.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    started = time.perf_counter()
    calls = (joblib.delayed(function)(trial, args.data, args.out) for trial in todo)
    # With one worker joblib would run the trials in this process: there are at least two, of which --jobs are busy.
    parallel = joblib.Parallel(max(2, args.jobs), return_as="generator_unordered", pre_dispatch=args.jobs)
    with contextlib.closing(parallel(calls)) as finished:  # closing ends the workers of an interrupted run
        for number, (trial, metrics) in enumerate(finished, 1):
            left = (time.perf_counter() - started) / number * (len(todo) - number) / 60
            print(f"{number} of {len(todo)}: {trial.name}: {describe(metrics)}; {left:.0f} minutes left", flush=True)
