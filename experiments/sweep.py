"""Runs a study's trials, several at a time, on this machine or on a Dask cluster.

A study is a module with `run_trial(name, settings, data, models)`: it runs one trial, whose result is decided by
`settings` alone, keeps networks in the folder `models` if it likes, and returns the trial's record. The records are
the lines of one file; a trial that has its line is never run again.
"""

import contextlib
import functools
import importlib
import json
import os
import warnings

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from common import cli, records, training
from experiments import cluster
from hypersphere import datasets
from hypersphere.errors import InputError
from hypersphere.files import make_writable

ATTEMPTS = 3  # at a sweep whose workers die
# A trial is one core's work, so that its result depends neither on --jobs nor on the machine's number of cores.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def add_flags(parser):
    """The flags of every sweep: --precision, --jobs and --dask."""
    words = "of the convolutions in training, %(default)s"
    parser.add_argument("--precision", choices=list(training.POLICIES), default="float32", help=words)
    parser.add_argument("--jobs", type=cli.positive_int, default=min(os.cpu_count(), 4), help="at a time, %(default)s")
    parser.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, whose workers run the trials instead")


def run(module, trials, args):
    """Run the trials that have no record yet; returns the records of all, in the order of the trials.

    module : the study's, "experiments.STUDY"; trials : {name: settings}; args : the flags, with data, out, jobs and
    dask. Records are lines of `results/STUDY.jsonl` under args.out; networks go into `models/STUDY`.
    A trial whose worker is killed runs again; InputError if that goes on, or if a record was made with other settings.
    """
    study = module.rpartition(".")[2]
    path, models = args.out / "results" / f"{study}.jsonl", args.out / "models" / study
    make_writable(models)
    runner, task = cluster.run if args.dask else _on_this_machine, functools.partial(run_trial, module)
    for attempt in range(ATTEMPTS + 1):
        done = finished(path, trials)
        todo = {name: settings for name, settings in trials.items() if name not in done}
        if not todo:
            return [done[name] for name in trials]
        if attempt == ATTEMPTS:
            raise InputError(f"workers were killed {attempt} times: give fewer --jobs, or this machine more memory")
        print(f"{len(trials)} trials, {len(todo)} of them to run; their records: {path}", flush=True)
        try:
            running = contextlib.closing(runner(task, todo, args, models))
            with cli.progress(len(todo), "trial", study) as line, running as ended:
                for record in ended:
                    records.append_record(path, record)
                    line.set_postfix_str(record["name"], refresh=False)
                    line.update()
        except TerminatedWorkerError:
            print("a worker was killed; what it was at runs again", flush=True)


def finished(path, trials):
    """The records of those trials that have one, {name: record}; InputError if one was made with other settings."""
    done = {record["name"]: record for record in records.read_records(path) if record["name"] in trials}
    for name, record in done.items():
        expected, found = json.loads(json.dumps(records.portable(trials[name]))), record["settings"]
        differing = sorted(key for key in expected | found if expected.get(key) != found.get(key))
        if differing:
            raise InputError(f"{path}: {name} was made with another {', '.join(differing)}; give another --out")
    return done


def cifar10_setting(data):
    """SHA-256 of CIFAR-10's training files, downloaded if need be; None, with a sentence, if they cannot be."""
    try:
        datasets.find_cifar10(data)
    except datasets.DownloadError as error:
        print(f"{error}; CIFAR-10 is left out")
        return None
    return datasets.cifar10_sha256(data, "train")


def run_trial(module, name, settings, data, models):
    """A trial's record, from the function `run_trial` of the study's module."""
    os.environ |= ONE_THREAD
    for split, key in records.CIFAR10_SETTINGS.items():
        if settings.get(key) not in (None, datasets.cifar10_sha256(data, split)):
            raise InputError(f"{name}: this machine has another CIFAR-10 than the one that started the sweep, or none")
    return importlib.import_module(module).run_trial(name, settings, data, models)


def _on_this_machine(task, todo, args, models):
    os.environ |= ONE_THREAD  # worker processes inherit it
    # TensorFlow keeps about 40 MB of every trial; joblib, with psutil, replaces a worker that has grown by 300 MB.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    # With one worker joblib would run the trials in this process: there are at least two, of which --jobs are busy.
    parallel = joblib.Parallel(max(2, args.jobs), return_as="generator_unordered", pre_dispatch=args.jobs)
    tasks = (joblib.delayed(task)(name, settings, args.data, models) for name, settings in todo.items())
    with contextlib.closing(parallel(tasks)) as ended:
        yield from ended  # closing ends the workers of an interrupted run
