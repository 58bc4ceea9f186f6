"""The control that sees no encoder: a classical classifier on the pixels themselves.

A frozen encoder that does worse has thrown information away. An SVM with a radial kernel (Cortes
and Vapnik, "Support-Vector Networks", Machine Learning 20, 1995) while its cost, quadratic in the
images, is a matter of minutes; logistic regression above. Both are scikit-learn's. Features are the
pixels as the data normalises them, flattened: dividing each pixel by its own deviation besides
costs the SVM 5 to 12 points at 1 to 10 labels a class (Digits 5-9), because it blows up the rim.

L classes.
"""

import warnings

import torch

from vit.evaluate.base import Result, Task


def pixels(
    task: Task,
    svm_c: float = 10.0,
    logistic_c: float = 0.01,
    limit: int = 5000,
    iterations: int = 200,
) -> Result:
    """Classify flattened pixels.

    Args:
        task: what to learn from and what to classify; the pooling is the flattened image.
        svm_c: cost of an error; 10 to 100 measured equal on Digits, 1 a point less.
        logistic_c: the same above the limit; small, as neighbouring pixels repeat each other.
        limit: training images up to which the SVM is used: about a minute for 5,000 of 32x32x3.
        iterations: at most so many for logistic regression; stopping early only regularises.
    """
    if min(svm_c, logistic_c) <= 0 or limit < 0 or iterations < 1:
        raise ValueError(
            "pixels: svm_c and logistic_c must be above 0, limit at least 0, iterations at least "
            f"1, got {svm_c}, {logistic_c}, {limit} and {iterations}"
        )
    from sklearn.exceptions import ConvergenceWarning  # slow to load, and only needed here
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    features, labels = task.train.features.float().numpy(), task.train.labels.numpy()
    if len(features) <= limit:
        classifier = SVC(C=svm_c, gamma="scale")
        settings = {"classifier": "svm", "kernel": "rbf", "gamma": "scale", "c": svm_c}
    else:
        classifier = LogisticRegression(C=logistic_c, max_iter=iterations)
        settings = {"classifier": "logistic", "c": logistic_c, "iterations": iterations}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the notes hold the iterations
        classifier.fit(features, labels)
    answers = torch.from_numpy(classifier.predict(task.queries.features.float().numpy()))
    correct = answers == task.queries.labels
    return Result(
        {"accuracy": correct.double().mean().item()},
        {"correct": correct},
        {"name": "pixels", **settings, "limit": limit, "train": len(features)},
        {"iterations": int(max(classifier.n_iter_))},
    )
