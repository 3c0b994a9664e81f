"""Records to tables and figures; `python -m experiments.report` puts them into the pages."""
