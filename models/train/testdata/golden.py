"""Writes golden.json: what scikit-learn's LogisticRegression (lbfgs) finds on data that is made here.

python -m venv .venv && .venv/bin/pip install numpy==2.4.6 scikit-learn==1.9.1 && .venv/bin/python golden.py > golden.json
"""
import json

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier


def data(rng, rows, dimension, labels):
    centres = rng.normal(size=(labels, dimension))
    y = rng.choice(labels, size=rows, p=np.arange(1, labels + 1) / sum(range(1, labels + 1)))
    x = centres[y] + 1.5 * rng.normal(size=(rows, dimension))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


def fit(c, balanced):
    return LogisticRegression(C=c, class_weight="balanced" if balanced else None, tol=1e-12, max_iter=100_000)


def main():
    rng = np.random.default_rng(7)
    cases = []
    for name, rows, dimension, labels, c, balanced in [
        ("two labels", 60, 5, 2, 1.0, False),
        ("two labels, balanced", 60, 5, 2, 10.0, True),
        ("three labels", 80, 6, 3, 1.0, False),
        ("four labels, balanced, sharp", 90, 6, 4, 100.0, True),
        ("five labels, fewer rows than dimensions", 30, 40, 5, 10.0, False),
    ]:
        x, y = data(rng, rows, dimension, labels)
        model = fit(c, balanced).fit(x.astype(np.float64), y)
        cases.append(dict(name=name, c=c, balanced=balanced, multi=False, labels=labels, x=x.tolist(), truth=[[int(k)] for k in y],
                          coefficients=model.coef_.tolist(), intercepts=model.intercept_.tolist(),
                          probabilities=model.predict_proba(x.astype(np.float64)).tolist()))
    x, y = data(rng, 70, 6, 4)
    sets = [sorted({int(k), int((k + 1) % 4)} if rng.random() < 0.4 else {int(k)}) for k in y]
    truth = np.array([[k in s for k in range(4)] for s in sets], dtype=int)
    for balanced in (False, True):
        model = OneVsRestClassifier(fit(3.0, balanced)).fit(x.astype(np.float64), truth)
        cases.append(dict(name=f"several labels a row, balanced {balanced}", c=3.0, balanced=balanced, multi=True, labels=4, x=x.tolist(), truth=sets,
                          coefficients=[e.coef_[0].tolist() for e in model.estimators_],
                          intercepts=[float(e.intercept_[0]) for e in model.estimators_],
                          probabilities=model.predict_proba(x.astype(np.float64)).tolist()))
    print(json.dumps(cases))


main()
