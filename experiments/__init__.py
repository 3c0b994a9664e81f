"""The experiments: each runs as `python -m experiments.NAME` from the clone."""

from common import cli

cli.start()  # before any of them imports Keras
