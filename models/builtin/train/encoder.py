"""Trains the shipped encoder: python encoder.py DATA OUT.

Static vectors: counts of neighbouring pieces, positive pointwise mutual information, truncated SVD, then taught by gradient
(contrast.py); a text is the sum of its pieces' vectors, scaled to length 1. Judged on texts that nothing was learnt from, by
how well the other half of a text is found, and by keywords against ranking by TF-IDF.
"""
import collections
import glob
import json
import os
import sys
import time
import zlib

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

import common
import contrast
from common import Graph

DIMENSION = 128
WINDOW = 5
SMOOTH = 1e-4  # a of a / (a + p); of 1e-3, 1e-4, 1e-5 and 3e-6 the best at finding the other half of a text
SEED = 7


def texts(data):
    out = [t for t, _ in sum(common.semeval(data), [])] + [t for t, _ in common.weak(data)]
    for path in [os.path.join(data, "dscc", "airline.jsonl"), os.path.join(data, "twitter_v2", "tweets.jsonl"), *sorted(glob.glob(os.path.join(data, "topics", "*_train.jsonl")))]:
        with open(path) as f:
            for line in f:
                try:
                    out.append(json.loads(line)["text"])
                except (json.JSONDecodeError, KeyError):
                    continue
    here = os.path.dirname(os.path.abspath(__file__))
    for path in sorted(glob.glob(os.path.join(here, "texts", "*.jsonl"))):
        with open(path) as f:
            out += [json.loads(line)["text"] for line in f if line.strip()]
    return list(dict.fromkeys(out))


def vectors(rows, size):
    freq = np.bincount(np.concatenate([np.array(r, np.int64) for r in rows if r]), minlength=size).astype(np.float64)
    left, right, weight = [], [], []
    for r in rows:
        a = np.array(r, np.int64)
        for d in range(1, WINDOW + 1):
            if len(a) > d:
                left.append(a[:-d])
                right.append(a[d:])
                weight.append(np.full(len(a) - d, 1.0 / d))
    left, right, weight = (np.concatenate(x) for x in (left, right, weight))
    counts = sp.coo_matrix((weight, (left, right)), shape=(size, size)).tocsr()
    counts = counts + counts.T
    total = counts.sum()
    p = np.asarray(counts.sum(1)).ravel()
    context = p**0.75
    context /= context.sum()
    m = counts.tocoo()
    pmi = np.log(np.maximum(m.data / total / (p[m.row] / total * context[m.col]), 1e-12))
    keep = pmi > 0
    ppmi = sp.csr_matrix((pmi[keep], (m.row[keep], m.col[keep])), shape=(size, size))
    svd = TruncatedSVD(DIMENSION, n_iter=5, random_state=SEED)
    e = svd.fit_transform(ppmi) / np.sqrt(np.maximum(svd.singular_values_, 1e-9))  # U * sqrt(S)
    e -= e[freq > 0].mean(0)
    length = np.linalg.norm(e, axis=1, keepdims=True)
    e = np.where(length > 1e-6, e / np.maximum(length, 1e-6), 0)
    weights = SMOOTH / (SMOOTH + freq / freq.sum())
    # A piece seen fewer than five times has a vector of chance: it counts for less.
    weights *= np.minimum(1.0, freq / 5)
    e *= weights[:, None]
    e[:2] = 0
    return e


def export(e, path):
    g = Graph("encoder")
    mask = g.mask()
    total = g.total(g.op("Mul", g.rows(e, "input_ids"), mask), mask)
    g.op("Div", total, g.op("Max", g.length(total), g.const(np.float32(1e-9))), out="sentence_embedding")
    g.save(path, "sentence_embedding", DIMENSION, "smelt encoder: static vectors, int8")


def embed(e, rows):
    out = np.stack([e[r].sum(0) if r else np.zeros(DIMENSION) for r in rows])
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def part(text):
    """Of twenty: 0 was chosen on, 10 is judged on, the others are learnt from."""
    return zlib.crc32(text.encode()) % 20


def judge(tok, tables, learnt, held):
    """Two proxies. A hashtag is a keyword that the writer chose: how often is it among the five best terms, and what is the mean
    of one over its place? And of a tweet's two halves, how often is the right other half the nearest of a hundred?"""
    stop = TfidfVectorizer(stop_words="english").get_stop_words()
    idf = TfidfVectorizer(preprocessor=lambda t: common.preprocess(t).lower()).fit(learnt)
    analyse, new = idf.build_analyzer(), np.log(1 + len(learnt)) + 1  # what a word is worth that was never seen
    rarity = lambda w: idf.idf_[idf.vocabulary_[w]] if w in idf.vocabulary_ else new
    places = {name: [] for name in [*tables, "TF-IDF"]}
    for t in held:
        tags = {w[1:].lower() for w in t.split() if w.startswith("#") and w[1:].isalpha() and len(w) > 4}
        plain = t.replace("#", " ")
        words = sorted({w for w in analyse(plain) if w not in stop and w not in ("user", "url")})
        if len(tags) != 1 or not tags <= set(words) or len(words) < 8:
            continue
        tag = words.index(tags.pop())
        doc, terms = common.encode(tok, [plain]), common.encode(tok, words)
        scores = {name: embed(e, terms) @ embed(e, doc)[0] for name, e in tables.items()} | {"TF-IDF": np.array([rarity(w) for w in words])}
        for name, score in scores.items():
            places[name].append(1 + (score > score[tag]).sum() + ((score == score[tag]).sum() - 1) / 2)
    out = {"keyword texts": len(places["TF-IDF"])}
    for name, p in places.items():
        out[name] = {"hashtag in top 5": round(float(np.mean(np.array(p) <= 5)), 4), "mean reciprocal place": round(float(np.mean(1 / np.array(p))), 4)}
    sample = [r for r in common.encode(tok, held) if len(r) >= 16]
    sample = [sample[i] for i in np.random.default_rng(SEED).permutation(len(sample))[: min(2000, len(sample) // 100 * 100)]]
    for name, e in tables.items():
        a, b = embed(e, [r[: len(r) // 2] for r in sample]), embed(e, [r[len(r) // 2 :] for r in sample])
        hits = sum((np.argmax(a[k : k + 100] @ b[k : k + 100].T, 1) == np.arange(100)).sum() for k in range(0, len(sample), 100))
        out[name]["right half of 100"] = round(float(hits) / len(sample), 4)
    return out | {"halves": len(sample)}


def main(data, out):
    start = time.time()
    corpus = texts(data)
    learnt = [t for t in corpus if part(t) % 10]
    counted = collections.Counter()
    for t in learnt:
        counted.update(common.words(t))
    vocab = common.build_vocabulary(counted, 20000, 1500)
    tok = common.tokenizer(vocab)
    os.makedirs(out, exist_ok=True)
    tok.save(os.path.join(out, "tokenizer.json"), pretty=False)
    rows = common.encode(tok, learnt, 512)
    first = vectors(rows, len(vocab))
    e = contrast.refine(first, rows, vocab)
    q, scale = common.quantise(e)
    export(e, os.path.join(out, "model.onnx"))
    common.write_config(os.path.join(out, "config.json"), {
        "architectures": ["SmeltStaticEncoder"], "max_position_embeddings": common.MAX_TOKENS,
        "smelt": {"kind": "encoder", "preprocess": "tweet", "special_tokens": False, "dimension": DIMENSION, "version": "1", "license": "Apache-2.0"}})
    print(len(corpus), "texts,", len(learnt), "learnt from, vocabulary", len(vocab), f"{time.time() - start:.0f} s")
    tables = {"before contrast": first, "encoder": q * scale[:, None]}
    for name, held in (("chosen on", 0), ("judged on", 10)):
        print(name, json.dumps(judge(tok, tables, learnt, [t for t in corpus if part(t) == held]), indent=1), f"{time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
