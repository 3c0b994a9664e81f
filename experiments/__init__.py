"""The experiments: each runs as `python -m experiments.NAME` from the clone."""
