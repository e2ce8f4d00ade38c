"""Trains the shipped encoder: python encoder.py DATA OUT.

Static vectors: counts of neighbouring pieces, positive pointwise mutual information, truncated SVD; a text is the mean of
its pieces' vectors, weighted by smooth inverse frequency and scaled to length 1. Judged by how well the most alike of two
texts is found, and by keywords against ranking by TF-IDF.
"""
import collections
import glob
import json
import os
import sys
import time

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

import common
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


def judge(tok, e, corpus, data):
    """Two proxies. A hashtag is a keyword that the writer chose: how often is it among the five best terms? And of a
    tweet's two halves, how often is the right other half the nearest of a hundred?"""
    rng = np.random.default_rng(SEED)
    stop = TfidfVectorizer(stop_words="english").get_stop_words()
    idf = TfidfVectorizer(preprocessor=lambda t: common.preprocess(t).lower()).fit(corpus)
    where = idf.vocabulary_
    ours = theirs = n = 0
    for t in corpus:
        tags = [w[1:].lower() for w in t.split() if w.startswith("#") and w[1:].isalpha() and len(w) > 4]
        if len(tags) != 1:
            continue
        plain = t.replace("#", " ")
        words = sorted({w for w in idf.build_analyzer()(plain) if w not in stop and w not in ("user", "url")})
        if tags[0] not in words or len(words) < 8:
            continue
        n += 1
        doc = embed(e, common.encode(tok, [plain]))[0]
        terms = embed(e, common.encode(tok, words))
        best = [words[i] for i in np.argsort(-(terms @ doc))[:5]]
        ours += tags[0] in best
        rank = sorted(words, key=lambda w: -(idf.idf_[where[w]] if w in where else 0))[:5]
        theirs += tags[0] in rank
        if n == 2000:
            break
    sample = [r for r in common.encode(tok, corpus[:20000]) if len(r) >= 16]
    sample = [sample[i] for i in rng.permutation(len(sample))[:2000]]
    a, b = embed(e, [r[: len(r) // 2] for r in sample]), embed(e, [r[len(r) // 2 :] for r in sample])
    hits = 0
    for k in range(0, 2000, 100):
        hits += (np.argmax(a[k : k + 100] @ b[k : k + 100].T, 1) == np.arange(100)).sum()
    return {"keyword texts": n, "hashtag in top 5, encoder": round(ours / n, 4), "hashtag in top 5, TF-IDF": round(theirs / n, 4), "right half of 100": round(hits / 2000, 4)}


def main(data, out):
    start = time.time()
    corpus = texts(data)
    counted = collections.Counter()
    for t in corpus:
        counted.update(common.words(t))
    vocab = common.build_vocabulary(counted, 20000, 1500)
    tok = common.tokenizer(vocab)
    os.makedirs(out, exist_ok=True)
    tok.save(os.path.join(out, "tokenizer.json"), pretty=False)
    rows = common.encode(tok, corpus, 512)
    e = vectors(rows, len(vocab))
    export(e, os.path.join(out, "model.onnx"))
    common.write_config(os.path.join(out, "config.json"), {
        "architectures": ["SmeltStaticEncoder"], "max_position_embeddings": common.MAX_TOKENS,
        "smelt": {"kind": "encoder", "preprocess": "tweet", "special_tokens": False, "dimension": DIMENSION, "version": "1", "license": "Apache-2.0"}})
    print(len(corpus), "texts, vocabulary", len(vocab), f"{time.time() - start:.0f} s")
    print(json.dumps(judge(tok, e, corpus, data), indent=1), f"{time.time() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
