"""Trains the shipped topic model: python topic.py DATA OUT. With --refit the pieces and vectors of the model in OUT stay.

Two hundred labelled tweets are too few for 19 labels, so most of what the model knows is written: a lexicon, and short texts
made for this project (texts/). A text becomes the mean of static vectors and, for each label, how many lexicon words it
has; a logistic regression a label sits on both. Judged, calibrated and given its thresholds by cross-validation over the
labelled tweets, since the written texts have their topics more often and more clearly than tweets do.
"""
import collections
import json
import os
import random
import sys
import time

import numpy as np
import onnx
from onnx import numpy_helper
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold
from tokenizers import Tokenizer

import common
import encoder
from common import Graph

LABELS = ["arts_&_culture", "business_&_entrepreneurs", "celebrity_&_pop_culture", "diaries_&_daily_life", "family", "fashion_&_style", "film_tv_&_video",
          "fitness_&_health", "food_&_dining", "gaming", "learning_&_educational", "music", "news_&_social_concern", "other_hobbies", "relationships",
          "science_&_technology", "sports", "travel_&_adventure", "youth_&_student_life"]
SEED = 7
MADE = 60  # texts put together from the lexicon for each label
CAP = 2.0  # more hits than this say no more


def read(path):
    out = []
    with open(path) as f:
        for line in f:
            row = json.loads(line)
            out.append((row["text"], [float(row[l]) for l in LABELS]))
    return out


def written(folder):
    """The texts of this project, and the lexicon as {label: words}."""
    texts = []
    with open(os.path.join(folder, "topics.jsonl")) as f:
        for line in f:
            row = json.loads(line)
            texts.append((row["text"], [float(l in row["labels"]) for l in LABELS]))
    with open(os.path.join(folder, "lexicon.json")) as f:
        lexicon = {l: w.split() for l, w in json.load(f).items()}
    return texts, lexicon


def made(lexicon):
    """Bags of lexicon words: no sentences, but the words stand in company."""
    r = random.Random(SEED)
    out = []
    for i, l in enumerate(LABELS):
        for _ in range(MADE):
            words = r.sample(lexicon[l], r.randint(3, 7))
            out.append((" ".join(words), [float(j == i) for j in range(len(LABELS))]))
    return out


def lexicon_table(lexicon, vocab):
    """For each piece and label: the weight of the word, shared among the labels that claim it."""
    claims = collections.Counter(w for ws in lexicon.values() for w in set(ws))
    table = np.zeros((len(vocab), len(LABELS)), np.float32)
    for i, l in enumerate(LABELS):
        for w in lexicon[l]:
            if w in vocab:
                table[vocab[w], i] = 1.0 / claims[w]
    return table


def features(rows, vectors, table):
    dense = encoder.embed(vectors, rows)
    hits = np.stack([np.minimum(table[r].sum(0), CAP) if r else np.zeros(len(LABELS)) for r in rows])
    return np.hstack([dense, hits])


def fit(x, y, weight):
    """One logistic regression a label."""
    models = [LogisticRegression(C=1.0, max_iter=300).fit(x, y[:, i], sample_weight=weight) for i in range(len(LABELS))]
    return np.stack([m.coef_[0] for m in models]), np.array([m.intercept_[0] for m in models])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_loss(p, y):
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()


def calibrate(z, y):
    """A slope for all labels and a shift a label that make the logits z probabilities. A shift is held near 0: some labels
    have three tweets."""
    def loss(v):
        return log_loss(sigmoid(v[0] * z + v[1:]), y) * y.size + 0.5 * (v[1:] ** 2).sum() + 5 * (v[0] - 1) ** 2
    v = minimize(loss, np.r_[1, np.zeros(len(LABELS))]).x
    return v[0], v[1:]


def calibration_error(p, y, bins=10):
    """The mean distance between how likely labels are said to be and how often they are there, over bins of equal width."""
    which = np.minimum((p * bins).astype(int), bins - 1)
    return sum(abs((p - y)[which == k].sum()) for k in range(bins)) / y.size


def thresholds(p, y):
    """For each label the threshold of best F1, pulled half way to the best common one: 180 tweets decide no label alone."""
    grid = np.arange(0.05, 0.9, 0.025)
    common_best = max(grid, key=lambda t: f1_score(y, p >= t, average="micro", zero_division=0) + f1_score(y, p >= t, average="macro", zero_division=0))
    out = []
    for i in range(len(LABELS)):
        own = max(grid, key=lambda t: f1_score(y[:, i], p[:, i] >= t, zero_division=0)) if y[:, i].sum() >= 3 else common_best
        out.append(round(float((own + common_best) / 2), 3))
    return out


def figures(raw, calibrated, y, t):
    p = sigmoid(calibrated)
    f1 = lambda kind: round(float(f1_score(y, p >= np.array(t), average=kind, zero_division=0)), 4)
    out = {"n": len(y), "macro F1": f1("macro"), "micro F1": f1("micro")}
    for name, q in (("as trained", sigmoid(raw)), ("calibrated", p)):
        out[name] = {"log loss": round(float(log_loss(q, y)), 4), "calibration error": round(float(calibration_error(q, y)), 4)}
    return out


def judge(logits, y, times=10):
    """Calibration and thresholds come from one half of the tweets and are judged on the other, both ways and several times."""
    found = []
    for k in range(times):
        half = np.random.default_rng(k).permutation(len(y)) < len(y) // 2
        for a in (half, ~half):
            slope, shift = calibrate(logits[~a], y[~a])
            t = thresholds(sigmoid(slope * logits[~a] + shift), y[~a])
            found.append(figures(logits[a], slope * logits[a] + shift, y[a], t))
    mean = lambda path: round(float(np.mean([path(f) for f in found])), 4)
    spread = lambda path: round(float(np.std([path(f) for f in found])), 4)
    out = {"halves": len(found), "n": len(y) // 2}
    for kind in ("macro F1", "micro F1"):
        out[kind], out[kind + ", spread"] = mean(lambda f: f[kind]), spread(lambda f: f[kind])
    for name in ("as trained", "calibrated"):
        out[name] = {of: mean(lambda f: f[name][of]) for of in found[0][name]}
    return {"cross-validation": out}


def learn(data, lexicon, out):
    """A tokenizer and static vectors from all texts there are."""
    corpus = encoder.texts(data)
    counted = collections.Counter({w: 1_000_000 for ws in lexicon.values() for w in ws})  # every lexicon word is a piece
    for t in corpus:
        counted.update(common.words(t))
    vocab = common.build_vocabulary(counted, 12000, 800)
    tok = common.tokenizer(vocab)
    os.makedirs(out, exist_ok=True)
    tok.save(os.path.join(out, "tokenizer.json"), pretty=False)
    return tok, encoder.vectors(common.encode(tok, corpus, 512), len(vocab))


def pieces(out):
    """Those of the model in out, whose first two tables of int8 and of scales are the vectors."""
    weights = [numpy_helper.to_array(w) for w in onnx.load(os.path.join(out, "model.onnx")).graph.initializer]
    at = next(i for i, w in enumerate(weights) if w.dtype == np.int8)
    return Tokenizer.from_file(os.path.join(out, "tokenizer.json")), weights[at] * weights[at + 1][:, None].astype(np.float64)


def main(data, out, refit):
    start = time.time()
    here = os.path.dirname(os.path.abspath(__file__))
    texts, lexicon = written(os.path.join(here, "texts"))
    labelled, validation = read(os.path.join(data, "topics", "en_train.jsonl")), read(os.path.join(data, "topics", "en_validation.jsonl"))
    tok, vectors = pieces(out) if refit else learn(data, lexicon, out)
    vocab = tok.get_vocab()
    table = lexicon_table(lexicon, vocab)
    extra = texts + made(lexicon)
    feature = lambda pairs: (features(common.encode(tok, [t for t, _ in pairs]), vectors, table), np.array([y for _, y in pairs]))
    xl, yl = feature(labelled)
    xe, ye = feature(extra)
    xv, yv = feature(validation)
    we = np.r_[np.full(len(texts), 1.0), np.full(len(extra) - len(texts), 0.3)]
    logits = np.zeros_like(yl)  # each by a model that has not seen the tweet
    for train, test in KFold(6, shuffle=True, random_state=SEED).split(xl):
        w, b = fit(np.vstack([xl[train], xe]), np.vstack([yl[train], ye]), np.r_[np.full(len(train), 3.0), we])
        logits[test] = xl[test] @ w.T + b
    scores = judge(logits, yl)
    slope, shift = calibrate(logits, yl)
    t = thresholds(sigmoid(slope * logits + shift), yl)
    w, b = fit(np.vstack([xl, xe]), np.vstack([yl, ye]), np.r_[np.full(len(yl), 3.0), we])
    raw = xv @ w.T + b
    w, b = w * slope, b * slope + shift
    scores["en_validation"] = figures(raw, raw * slope + shift, yv, t)
    export(vectors, table, w, b, os.path.join(out, "model.onnx"))
    common.write_config(os.path.join(out, "config.json"), {
        "architectures": ["SmeltTopicForSequenceClassification"], "id2label": dict(enumerate(LABELS)), "label2id": {l: i for i, l in enumerate(LABELS)},
        "problem_type": "multi_label_classification", "max_position_embeddings": common.MAX_TOKENS,
        "smelt": {"kind": "classifier", "preprocess": "tweet", "special_tokens": False, "thresholds": t, "version": "1", "license": "Apache-2.0"}})
    print("vocabulary", len(vocab), "written texts", len(texts), f"{time.time() - start:.0f} s")
    print(json.dumps(scores, indent=1))


def export(vectors, table, w, b, path):
    g = Graph("topic")
    mask = g.mask()
    total = lambda rows: g.total(g.op("Mul", rows, mask), mask)
    mean = total(g.rows(vectors, "input_ids"))
    dense = g.op("Div", mean, g.op("Max", g.length(mean), g.const(np.float32(1e-9))))
    hits = g.op("Min", total(g.rows(table, "input_ids")), g.const(np.float32(CAP)))
    x = g.op("Concat", dense, hits, axis=1)
    g.op("Gemm", x, g.const(w.astype(np.float32)), g.const(b.astype(np.float32)), transB=1, out="logits")
    g.save(path, "logits", len(LABELS), "smelt topic: static vectors and a written lexicon, int8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--refit" in sys.argv)
