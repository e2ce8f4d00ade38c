"""Trains the shipped topic model: python topic.py DATA OUT.

Two hundred labelled tweets are too few for 19 labels, so most of what the model knows is written: a lexicon, and short texts
made for this project (texts/). A text becomes the mean vector of the encoder and, for each label, how many lexicon words it
has; a logistic regression a label sits on both. Judged by cross-validation over the labelled tweets.
"""
import collections
import json
import os
import random
import sys
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold

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
    """One logistic regression a label; a label that a fold lacks keeps a low constant."""
    w, b = np.zeros((len(LABELS), x.shape[1])), np.full(len(LABELS), -4.0)
    scale = np.r_[np.ones(encoder.DIMENSION), np.full(len(LABELS), 2.0)]  # trust what is written more than what is learnt
    for i in range(len(LABELS)):
        if y[:, i].any():
            m = LogisticRegression(C=1.0, max_iter=300).fit(x * scale, y[:, i], sample_weight=weight)
            w[i], b[i] = m.coef_[0] * scale, m.intercept_[0]
    return w, b


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def thresholds(p, y):
    """For each label the threshold of best F1, pulled half way to the best common one: 180 tweets decide no label alone."""
    grid = np.arange(0.05, 0.9, 0.025)
    common_best = max(grid, key=lambda t: f1_score(y, p >= t, average="micro", zero_division=0) + f1_score(y, p >= t, average="macro", zero_division=0))
    out = []
    for i in range(len(LABELS)):
        own = max(grid, key=lambda t: f1_score(y[:, i], p[:, i] >= t, zero_division=0)) if y[:, i].sum() >= 3 else common_best
        out.append(round(float((own + common_best) / 2), 3))
    return out


def report(name, p, y, t):
    hit = p >= np.array(t)
    return {name: {"n": len(y), "macro F1": round(f1_score(y, hit, average="macro", zero_division=0), 4), "micro F1": round(f1_score(y, hit, average="micro", zero_division=0), 4)}}


def main(data, out):
    start = time.time()
    here = os.path.dirname(os.path.abspath(__file__))
    texts, lexicon = written(os.path.join(here, "texts"))
    labelled, validation = read(os.path.join(data, "topics", "en_train.jsonl")), read(os.path.join(data, "topics", "en_validation.jsonl"))
    corpus = encoder.texts(data)
    counted = collections.Counter({w: 1_000_000 for ws in lexicon.values() for w in ws})  # every lexicon word is a piece
    for t in corpus:
        counted.update(common.words(t))
    vocab = common.build_vocabulary(counted, 12000, 800)
    tok = common.tokenizer(vocab)
    os.makedirs(out, exist_ok=True)
    tok.save(os.path.join(out, "tokenizer.json"), pretty=False)
    vectors = encoder.vectors(common.encode(tok, corpus, 512), len(vocab))
    table = lexicon_table(lexicon, vocab)
    extra = texts + made(lexicon)
    feature = lambda pairs: (features(common.encode(tok, [t for t, _ in pairs]), vectors, table), np.array([y for _, y in pairs]))
    xl, yl = feature(labelled)
    xe, ye = feature(extra)
    xv, yv = feature(validation)
    we = np.r_[np.full(len(texts), 1.0), np.full(len(extra) - len(texts), 0.3)]
    out_of_fold = np.zeros_like(yl)
    for train, test in KFold(6, shuffle=True, random_state=SEED).split(xl):
        w, b = fit(np.vstack([xl[train], xe]), np.vstack([yl[train], ye]), np.r_[np.full(len(train), 3.0), we])
        out_of_fold[test] = sigmoid(xl[test] @ w.T + b)
    # The thresholds for the figures are chosen on one half of the folds' predictions and judged on the other.
    half = np.arange(len(yl)) % 2 == 0
    scores = {}
    for name, a in (("even", half), ("odd", ~half)):
        scores.update(report(f"cross-validation, judged on {name} rows", out_of_fold[a], yl[a], thresholds(out_of_fold[~a], yl[~a])))
    t = thresholds(out_of_fold, yl)
    w, b = fit(np.vstack([xl, xe]), np.vstack([yl, ye]), np.r_[np.full(len(yl), 3.0), we])
    scores.update(report("en_validation", sigmoid(xv @ w.T + b), yv, t))
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
    main(sys.argv[1], sys.argv[2])
