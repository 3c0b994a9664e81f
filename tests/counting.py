"""A study that trains nothing, for the tests of the sweep runner."""

import os
import signal
import time
from pathlib import Path

from common import records


def run_trial(name, settings, data, models):
    """Write down the process; die as often as the file that is named under "deadly" says."""
    time.sleep(0.2)
    deadly = Path(settings["deadly"]) if "deadly" in settings else None
    if deadly and int(deadly.read_text()) > 0:
        deadly.write_text(str(int(deadly.read_text()) - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    models.mkdir(parents=True, exist_ok=True)
    (models / f"{name}.txt").write_text(name)
    return records.new_record(name, settings, {"process": os.getpid()}, time.perf_counter())
