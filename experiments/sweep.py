"""Runs a study's trials, several at a time, on this machine or on a Dask cluster.

A study is a module with `run_trial(name, settings, data, models)`: it runs one trial, whose result is decided by
`settings` alone, keeps networks in the folder `models` if it likes, and returns what goes into the trial's record:
"metrics", and more if it likes. The records are the lines of one file; a trial that has its line is never run again.
"""

import contextlib
import functools
import hashlib
import importlib
import json
import os
import tempfile
import time
import warnings
from pathlib import Path

import joblib
import keras
from joblib.externals.loky.process_executor import TerminatedWorkerError

from common import cli, records
from common.cli import PROJECT
from hypersphere import datasets
from hypersphere.errors import InputError
from hypersphere.files import make_writable, replacing

ATTEMPTS = 3  # at a sweep whose workers die
# A trial is one core's work, so that its result depends neither on --jobs nor on the machine's number of cores.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def parser(docstring, choose=None, seeds=None):
    """A study's parser with the flags of every sweep; --choose and --seeds if there are words for their help."""
    parser = cli.Parser(docstring, out=PROJECT / "runs")
    if choose:
        parser.add_argument("--choose", action="store_true", help=choose)
        parser.add_argument("--seeds", type=cli.positive_int, metavar="N", help=seeds)
    parser.add_argument("--jobs", type=cli.positive_int, default=min(os.cpu_count(), 4), help="at a time, %(default)s")
    parser.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, whose workers run the trials instead")
    return parser


def run(module, trials, args):
    """Run the trials that have no record yet; returns the records of all, in the order of the trials.

    module : the study's, "experiments.STUDY"; trials : {name: settings}; args : the flags, with data, out, jobs and
    dask. Records are lines of `results/STUDY.jsonl` under args.out; networks go into `models/STUDY`.
    A trial whose worker is killed runs again; InputError if that goes on, or if a record was made with other settings.
    """
    study, trials = module.rpartition(".")[2], {name: trials[name] | {"precision": "float32"} for name in trials}
    path, models = args.out / "results" / f"{study}.jsonl", args.out / "models" / study
    make_writable(models)
    runner, task = _on_cluster if args.dask else _on_this_machine, functools.partial(run_trial, module)
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
    """A trial's record, with what the function `run_trial` of the study's module returns."""
    os.environ |= ONE_THREAD
    for split, key in records.CIFAR10_SETTINGS.items():
        if settings.get(key) not in (None, datasets.cifar10_sha256(data, split)):
            raise InputError(f"{name}: this machine has another CIFAR-10 than the one that started the sweep, or none")
    keras.backend.clear_session()  # of the trial before
    keras.config.set_dtype_policy(settings["precision"])
    started = time.perf_counter()
    found = importlib.import_module(module).run_trial(name, settings, data, models)
    return records.new_record(name, settings, {}, started) | found


def _on_this_machine(task, todo, args, models):
    os.environ |= ONE_THREAD  # worker processes inherit it
    # TensorFlow keeps about 40 MB of every trial; joblib, with psutil, replaces a worker that has grown by 300 MB.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    # With one worker joblib would run the trials in this process: there are at least two, of which --jobs are busy.
    parallel = joblib.Parallel(max(2, args.jobs), return_as="generator_unordered", pre_dispatch=args.jobs)
    tasks = (joblib.delayed(task)(name, settings, args.data, models) for name, settings in todo.items())
    with contextlib.closing(parallel(tasks)) as ended:
        yield from ended  # closing ends the workers of an interrupted run


def _on_cluster(task, todo, args, models):
    """Yield the records of trials, {name: settings}, as they end; the networks that they keep come to `models`.

    task : a function of a trial's name and settings, the data folder and a folder for networks, to its record.
    Not through joblib's backend for Dask, which waits forever for a trial whose workers die again and again.
    """
    try:
        import distributed

        client = distributed.Client(args.dask, timeout=10)
        versions = {client.run_on_scheduler(code_sha256), *client.run(code_sha256).values()}
    except Exception as error:  # Dask makes a bare one of what a process cannot import
        words = f"no Dask, no scheduler answers, or it or a worker cannot load this project ({error})"
        raise InputError(f"--dask {args.dask}: {words}; see docs/extending.md") from None
    with client:
        if set(client.nthreads().values()) != {1}:
            raise InputError(f"--dask {args.dask}: no workers, or not of one thread each; start them with --nthreads 1")
        if versions != {code_sha256()}:
            raise InputError(f"--dask {args.dask}: the scheduler or a worker runs another version of this project")
        futures = {client.submit(_run, task, name, todo[name], args.data, pure=False): name for name in todo}
        for future in distributed.as_completed(futures):  # a trial whose worker dies has gone to another one
            try:
                record, files = future.result()
            except (InputError, distributed.KilledWorker, distributed.CancelledError) as error:
                raise InputError(f"--dask {args.dask}: {futures[future]}: {error}; see the workers' logs") from None
            for file, content in files.items():  # before the record, which says that they are there
                (models / file).parent.mkdir(parents=True, exist_ok=True)
                with replacing(models / file) as beside:
                    beside.write_bytes(content)
            future.release()
            yield record


def _run(task, name, settings, data):
    """Run a trial on a worker: its record and the files that it kept, {path: bytes}."""
    with tempfile.TemporaryDirectory() as folder:
        record = task(name, settings, data, Path(folder))
        kept = [path for path in Path(folder).rglob("*") if path.is_file()]
        return record, {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def code_sha256():
    """SHA-256 of all code that a trial may run."""
    files = [path for pattern in ["*.py", "*/*.py"] for path in PROJECT.glob(pattern)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()
