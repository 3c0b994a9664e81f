"""Network files that load with Keras's safe mode on."""

import keras

import hypersphere.model  # noqa: F401 - registers what saved networks are made of
from hypersphere.files import reading, replacing


def save_network(network, path):
    """Write a `.keras` file with the layers and weights alone, no optimizer state."""
    without_optimizer = keras.Model(network.input, network.output, name=network.name)
    with replacing(path) as beside:
        without_optimizer.save(beside)


def load_network(path, remedy="save it again", layers=()):
    """Load a `.keras` file with safe mode on.

    layers : names of layers that the network must have. Raises InputError, which ends with the remedy, if the file is
    missing or no such network.
    """
    wanted = f"a network with the layers {', '.join(layers)}" if layers else "a network"
    with reading(path, f"not {wanted}", remedy):
        network = keras.saving.load_model(path, compile=False)
        for name in layers:
            network.get_layer(name)
    return network
