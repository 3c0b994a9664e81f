"""Signs that a visitor teaches: the features of a few drawings, which come with each request; nothing is kept here."""

import numpy as np

from demo.images import BadImage
from hypersphere.enrolment import Enrolment
from hypersphere.scores import directions

LAYER = "turn embeddings"  # the classifier's embedding recognises fewer signs
MAX_SIGNS, MAX_EXAMPLES, MAX_NAME = 10, 5, 24
NEARER_THAN = 0.5  # of the digits: so near must a drawing be to a sign
MARGIN = 0.1  # cosine: so much nearer than a digit must a sign be to what the detector accepts as a digit


class SignNamer:
    """Names a drawing after the taught sign that is nearest, or after none.

    A drawing is near enough to a sign if its cosine to the examples' mean direction is above that of half of the
    digits to the mean of five of their own class. What the detector accepts must also be nearer to the sign than to
    any class of digits, by `MARGIN`.

    transform : the fitted detector's of the layer; features : of digits that the network was not trained on,
    (n, d); labels : theirs, (n,).
    """

    def __init__(self, transform, features, labels):
        self.transform = transform
        rows = self.directions(features)
        self.width = rows.shape[1]
        self.digits = Enrolment().fit(rows, labels)
        few = np.concatenate([np.flatnonzero(labels == label)[:MAX_EXAMPLES] for label in self.digits.classes_])
        others = np.setdiff1d(np.arange(len(rows)), few)
        cosines = Enrolment().fit(rows[few], labels[few]).cosines(rows[others])
        own = np.searchsorted(self.digits.classes_, labels[others])
        self.threshold = float(np.quantile(cosines[np.arange(len(others)), own], NEARER_THAN))

    def directions(self, features):
        """What examples are compared by, (n, d) to (n, width): unit vectors along the transform's components."""
        return directions(self.transform.transform(features))

    def name(self, direction, signs, is_digit):
        """The sign's name, or None.

        direction : (width,), of the drawing; signs : {name: (n, width)}; is_digit : what the detector says.
        """
        if not signs:
            return None
        names = list(signs)
        labels = np.repeat(np.arange(len(names)), [len(signs[name]) for name in names])
        cosines = Enrolment().fit(np.concatenate(list(signs.values())), labels).cosines(direction[None])[0]
        best = cosines.argmax()
        least = self.threshold
        if is_digit:
            least = max(least, self.digits.cosines(direction[None]).max() + MARGIN)
        return names[best] if cosines[best] > least else None


def read_signs(sent, width):
    """The signs of a request, [{"name": ..., "examples": [[...], ...]}, ...] to {name: (n, width)}.

    width : of an example. Raises BadImage, with a sentence, if they are none.
    """
    try:
        signs = {sign["name"]: np.array(sign["examples"], np.float64) for sign in sent}
        names_fit = all(isinstance(name, str) and name.strip() and len(name) <= MAX_NAME for name in signs)
        shapes = {rows.shape for rows in signs.values()}
        shapes_fit = shapes <= {(count, width) for count in range(1, MAX_EXAMPLES + 1)}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BadImage('signs is not a list of {"name": ..., "examples": [[number, ...], ...]}') from None
    if not names_fit or not len(signs) == len(sent) <= MAX_SIGNS:
        raise BadImage(f"signs have different names of 1 to {MAX_NAME} letters; there are at most {MAX_SIGNS}")
    if not shapes_fit or not all(np.abs(rows).max() <= 1 for rows in signs.values()):
        raise BadImage(f"a sign has 1 to {MAX_EXAMPLES} examples, each a list of {width} numbers from -1 to 1")
    return signs
