"""Writes golden.json: scores of random and awkward predictions as scikit-learn computes them. Run it with scikit-learn installed."""
import json, pathlib, random
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

random.seed(7)
cases = [
    ("one class", ["a"] * 3, ["a"] * 3),
    ("never right", ["a", "b"], ["b", "a"]),
    ("a class that is never predicted", ["a", "b", "c", "c"], ["a", "b", "a", "b"]),
    ("a class that is never true", ["a", "a", "b"], ["a", "z", "b"]),
    ("one row", ["x"], ["y"]),
    ("unequal classes", ["neg"] * 97 + ["pos"] * 3, ["neg"] * 95 + ["pos"] * 2 + ["neg", "pos", "pos"]),
    ("letters", ["é", "z", "ä", "Z"], ["é", "ä", "ä", "Z"]),
]
for n, k in ((50, 2), (400, 3), (1000, 9)):
    labels = ["label %02d" % i for i in range(k)]
    weights = [1 / (i + 1) for i in range(k)]
    truth = random.choices(labels, weights, k=n)
    predicted = [t if random.random() < 0.6 else random.choice(labels) for t in truth]
    cases.append((f"{n} rows of {k} classes", truth, predicted))

out = []
for name, truth, predicted in cases:
    labels = sorted(set(truth) | set(predicted))
    case = {"name": name, "truth": truth, "predicted": predicted, "labels": labels, "accuracy": accuracy_score(truth, predicted),
            "matrix": confusion_matrix(truth, predicted, labels=labels).tolist()}
    p, r, f, s = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    case["classes"] = [{"precision": a, "recall": b, "f1": c, "support": int(d)} for a, b, c, d in zip(p, r, f, s)]
    for average in ("weighted", "macro", "micro"):
        p, r, f, _ = precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        case[average] = {"precision": p, "recall": r, "f1": f}
    out.append(case)
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(out, ensure_ascii=False) + "\n")
