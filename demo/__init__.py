"""The demo: a web page and an HTTP interface that name a drawn digit, or reject the drawing."""

import os

# Read when scikit-learn starts. On a busy machine, threads that wait actively slow a single prediction tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
