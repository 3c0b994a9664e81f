"""Deep metric learning on the hypersphere: the code that the scripts share."""

import os

# Read when Keras and TensorFlow start, so this package is imported before them.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, not the start-up messages
