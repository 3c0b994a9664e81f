"""Signs that a visitor teaches: the features of a few drawings, which come with each request; nothing is kept here."""

import unicodedata

import numpy as np

from demo.images import are_rows
from hypersphere.enrolment import Enrolment
from hypersphere.errors import InputError
from hypersphere.scores import directions

LAYER = "turn embeddings"  # the classifier's embedding recognises fewer signs
MAX_SIGNS, MAX_EXAMPLES, MAX_NAME = 10, 5, 24
LEAST_LENGTH = 0.1  # of an example, which has 1 if it comes from here
NEARER_THAN = 0.5  # of the digits: so near must a drawing be to a sign
BLANK = "\u115f\u1160\u2800"  # letters and symbols that show nothing
# What the page says itself, without spaces.
VERDICTS = {"notadigit", "nodigit", "adigit", "cannotreadthis", "nothingdrawnyet", "noanswer", "onemoment"}
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
        few = np.concatenate([np.flatnonzero(labels == digit)[:MAX_EXAMPLES] for digit in range(10)])
        others = np.setdiff1d(np.arange(len(rows)), few)
        cosines = Enrolment().fit(rows[few], labels[few]).cosines(rows[others])
        own = cosines[np.arange(len(others)), labels[others]]
        self.threshold = float(np.quantile(own, NEARER_THAN))

    def directions(self, features):
        """What examples are compared by, (n, d) to (n, width): unit vectors along the transform's components."""
        return directions(self.transform.transform(features))

    def name(self, direction, signs, is_digit):
        """The sign's name, or None.

        direction : (width,), of the drawing; signs : {name: (n, width)}; is_digit : what the detector says.
        """
        if not signs:
            return None
        names = np.repeat(list(signs), [len(examples) for examples in signs.values()])
        taught = Enrolment().fit(np.concatenate(list(signs.values())), names)
        cosines, least = taught.cosines(direction[None])[0], self.threshold
        if is_digit:
            least = max(least, self.digits.cosines(direction[None]).max() + MARGIN)
        return str(taught.classes_[cosines.argmax()]) if cosines.max() > least else None


def read_name(sent):
    """A sign's name in Unicode's form NFKC; raises InputError if it is none, or shows nothing, or could mislead.

    It misleads if it looks like a digit or a verdict, or turns the text around it from right to left.
    """
    name = unicodedata.normalize("NFKC", sent).strip() if isinstance(sent, str) and len(sent) <= MAX_NAME else ""
    if not 0 < len(name) <= MAX_NAME:
        raise InputError(f"a sign's name has 1 to {MAX_NAME} letters")
    is_seen = [unicodedata.category(letter)[0] in "LNPS" and letter not in BLANK for letter in name]
    if not name.isprintable() or not any(is_seen):
        raise InputError("a sign's name has characters that show nothing")
    word = "".join(filter(str.isalnum, name.casefold()))
    if word in VERDICTS or (len(word) == 1 and word.isdecimal()):
        raise InputError("a sign's name is not a digit's, nor what the page says itself")
    return name


def read_signs(sent, width):
    """The signs of a request, [{"name": ..., "examples": [[...], ...]}, ...] to {name: (n, width)}.

    width : of an example. Raises InputError, with a sentence, if they are none.
    """
    if not isinstance(sent, list) or len(sent) > MAX_SIGNS:
        raise InputError(f"signs is not a list of at most {MAX_SIGNS}")
    signs = {}
    for sign in sent:
        if not isinstance(sign, dict) or set(sign) != {"name", "examples"}:
            raise InputError('each sign is {"name": ..., "examples": [...]}')
        name, examples = read_name(sign["name"]), sign["examples"]
        if name in signs:
            raise InputError("two signs have the same name")
        if not isinstance(examples, list) or not 0 < len(examples) <= MAX_EXAMPLES:
            raise InputError(f"a sign has 1 to {MAX_EXAMPLES} examples")
        if not are_rows(examples, width, -1, 1):
            raise InputError(f"an example is a list of {width} numbers from -1 to 1")
        signs[name] = np.array(examples)
        if np.linalg.norm(signs[name], axis=1).min() < LEAST_LENGTH:
            raise InputError("an example has no direction: its numbers are all 0, or nearly")
    return signs
