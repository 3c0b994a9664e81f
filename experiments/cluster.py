"""Runs a study's trials on a Dask cluster instead of this machine."""

import hashlib
import tempfile
from pathlib import Path

from common.cli import PROJECT
from hypersphere.errors import InputError
from hypersphere.files import replacing


def run(task, todo, args, models):
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
