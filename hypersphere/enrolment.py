"""Classes learned from a few examples, without training, and how well embeddings find classes again."""

import copy

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hypersphere.scores import directions


class Enrolment(ClassifierMixin, BaseEstimator):
    """Names an embedding after the class whose mean direction is nearest.

    A class is enrolled by its examples, one or more: `fit` starts anew, `partial_fit` adds classes, or examples to
    classes that are there, and `forget` takes a class away. No network is trained.
    Source: prototypes of Snell, Swersky, Zemel 2017, https://arxiv.org/abs/1703.05175, here of directions.

    Attributes
    ----------
    classes_ : the labels, (c,), sorted.
    sums_ : the sum of the directions of each class's examples, (c, d).
    counts_ : the number of each class's examples, (c,).
    """

    def fit(self, X, y):
        """Enrol the classes of y, (n,), by their examples, X : (n, d); returns self."""
        vars(self).pop("classes_", None)
        return self.partial_fit(X, y)

    def partial_fit(self, X, y, classes=None):
        """Add examples, (n, d), of classes, (n,), known or new; returns self. `classes` is ignored.

        Raises ValueError if the labels are strings and those enrolled are numbers, or the other way round.
        """
        started = len(getattr(self, "classes_", [])) > 0  # not where every class was forgotten
        X, y = validate_data(self, X, y, reset=not started, ensure_min_samples=1)
        check_classification_targets(y)
        known, sums, counts = (self.classes_, self.sums_, self.counts_) if started else (y[:0], X[:0], np.zeros(0, int))
        old, new = ("numbers" if labels.dtype.kind in "biuf" else "strings" for labels in [known, y])
        if len(known) and old != new:
            raise ValueError(f"labels {y.tolist()[:3]} are {new}, the enrolled {known.tolist()[:3]} are {old}")
        self.classes_, places = np.unique(np.concatenate([known, y]), return_inverse=True)
        self.sums_, self.counts_ = np.zeros((len(self.classes_), X.shape[1])), np.zeros(len(self.classes_), int)
        np.add.at(self.sums_, places, np.concatenate([sums, directions(X)]))
        np.add.at(self.counts_, places, np.concatenate([counts, np.ones(len(y), int)]))
        return self

    def forget(self, label):
        """Take a class away; returns self. Raises ValueError if it is not enrolled."""
        check_is_fitted(self)
        kept = self.classes_ != label
        if kept.all():
            raise ValueError(f"{label!r} is not enrolled; there are {self.classes_.tolist()}")
        self.classes_, self.sums_, self.counts_ = self.classes_[kept], self.sums_[kept], self.counts_[kept]
        return self

    def cosines(self, X):
        """The cosine of each row to each class's mean direction, (n, d) to (n, c).

        Raises NotFittedError, which is a ValueError, if no class is enrolled.
        """
        check_is_fitted(self)
        if not len(self.classes_):
            raise NotFittedError("every class was forgotten: enrol one with fit or partial_fit first")
        X = validate_data(self, X, reset=False)
        return directions(X) @ directions(self.sums_).T

    def predict(self, X):
        """The nearest class of each row, (n, d) to (n,)."""
        nearest = self.cosines(X).argmax(axis=1)
        return self.classes_[nearest]


def retrieval(embedding, label):
    """How well each image's nearest others are of its class, by cosine: {"recall_at_1", "map_at_r"}.

    embedding : (n, d), label : (n,). Recall@1 is the share of images whose nearest other image is of their class. An
    image whose class has R other images gets the mean over i = 1..R of the precision among the first i, counting
    only places i with an image of its class: MAP@R is the mean over images. Classes of one image are left out.
    Source: Musgrave, Belongie, Lim 2020, https://arxiv.org/abs/2003.08505
    """
    unit, label = directions(embedding), np.asarray(label)
    _, places, counts = np.unique(label, return_inverse=True, return_counts=True)
    n_others = counts[places] - 1
    if not n_others.any():
        raise ValueError("no class has two images")
    search = NearestNeighbors(n_neighbors=n_others.max(), algorithm="brute", metric="cosine").fit(unit)
    nearest = search.kneighbors(return_distance=False)  # of each image among the others
    place = np.arange(1, nearest.shape[1] + 1)
    same = (label[nearest] == label[:, np.newaxis]) & (place <= n_others[:, np.newaxis])
    average = (np.cumsum(same, axis=1) / place * same).sum(axis=1) / np.maximum(n_others, 1)
    counted = n_others > 0
    return {"recall_at_1": float(same[counted, 0].mean()), "map_at_r": float(average[counted].mean())}


def few_shot(train, known, new, n_examples, choices, seed):
    """How well a few examples of each new class name its other images: {number of examples: {"new", "all"}}.

    "new" is the accuracy among the new classes alone. "all" is that among all classes, of which the known ones are
    enrolled by their training images, over the images of known classes too. Means over so many choices of the examples.

    train, known, new : embeddings, (n, d), and labels, (n,), of training and of new images of the known classes, and of
    the new classes. n_examples : numbers of examples of a class. seed : of the choices.
    """
    rng, accuracy = np.random.default_rng(seed), {}
    enrolled = Enrolment().fit(*train)
    members = [np.flatnonzero(new[1] == label) for label in np.unique(new[1])]
    for count in n_examples:
        found = []
        for _ in range(choices):
            rows = np.concatenate([rng.choice(rows_of_class, count, replace=False) for rows_of_class in members])
            examples, others = (new[0][rows], new[1][rows]), np.delete(np.arange(len(new[1])), rows)
            among_new = Enrolment().fit(*examples).predict(new[0][others]) == new[1][others]
            both = copy.deepcopy(enrolled).partial_fit(*examples)
            among_all = [both.predict(x) == y for x, y in [known, (new[0][others], new[1][others])]]
            found.append([among_new.mean(), np.concatenate(among_all).mean()])
        accuracy[str(count)] = dict(zip(["new", "all"], np.mean(found, axis=0).tolist(), strict=True))
    return accuracy
