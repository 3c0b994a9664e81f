"""What scripts, experiments and the demo have in common: command line, records, training, figures."""
