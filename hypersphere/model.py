"""A model of an encoder and a head that trains with a plain `fit(x, y)`."""

import keras
from keras import ops

from hypersphere import heads  # noqa: F401 - so that a saved model finds its head


@keras.saving.register_keras_serializable(package="hypersphere")
class MetricModel(keras.Model):
    """An encoder, inputs to embeddings, and a head of `hypersphere.heads`, embeddings to logits.

        model = MetricModel(encoder, ArcFace(10))
        model.compile("adam", metrics=["accuracy"])
        model.fit(x, y)

    `predict` gives logits, `encoder.predict` embeddings. In training the loss is that of the head's `training_logits`,
    in evaluation that of the logits. A saved model loads where `MetricModel` is imported, and continues to train.

    Labels are whole numbers from 0, (n,) or (n, 1). `fit` raises ValueError if an array of training labels is out of
    range. Validation labels and those of a data set are seen in the compiled step alone: there PyTorch and, on a CPU,
    TensorFlow raise an error; JAX and XLA cannot, and the loss becomes NaN.
    """

    def __init__(self, encoder, head, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.head = encoder, head

    def get_config(self):
        parts = {"encoder": self.encoder, "head": self.head}
        return super().get_config() | {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ["encoder", "head"]}
        return cls(**config | parts)

    def build(self, input_shape):
        inputs = keras.tree.map_shape_structure(keras.KerasTensor, input_shape)
        self.head(self.encoder(inputs))  # builds both, whatever kind of model the encoder is

    def call(self, x, training=False):
        return self.head(self.encoder(x, training=training))

    def compile(self, optimizer="rmsprop", loss=None, **options):
        """As Keras's; without a loss, the cross-entropy of labels and logits.

        Raises ValueError if a loss takes probabilities, as Keras's do by name, or without from_logits=True.
        """
        for one in keras.tree.flatten(loss):
            if isinstance(one, str) or not getattr(one, "from_logits", True):
                raise ValueError(f"loss {one!r} takes probabilities; leave it out, or give one with from_logits=True")
        loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        super().compile(optimizer, loss=loss, **options)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, *arguments, **options):
        """As Keras's. Raises ValueError if labels are out of range or no whole numbers."""
        if y is not None:
            labels, count = ops.convert_to_numpy(y), self.head.num_classes
            least, largest = labels.min(), labels.max()
            if (labels % 1).any():
                raise ValueError(f"labels such as {labels[labels % 1 != 0][0]}; give whole numbers from 0")
            if least < 0 or largest >= count:
                raise ValueError(f"labels from {least} to {largest}, but the head has the classes 0 to {count - 1}")
        return super().fit(x, y, *arguments, **options)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss of a batch: of the head's training logits in training, else of its logits, `y_pred`."""
        if y is None:
            raise ValueError("images without labels; call fit(x, y), or give a data set of both")
        if len(y.shape) > 2 or (len(y.shape) == 2 and y.shape[1] != 1):
            raise ValueError(f"labels of shape {tuple(y.shape)}; give whole numbers, (n,) or (n, 1)")
        label, count = ops.cast(ops.reshape(y, (-1,)), "int32"), self.head.num_classes
        logits = y_pred
        if training:
            logits = self.head.training_logits(logits, ops.one_hot(label, count, dtype="bool"))
        loss = super().compute_loss(x, label, logits, sample_weight, training)
        return ops.where(ops.all(ops.logical_and(label >= 0, label < count)), loss, float("nan"))
