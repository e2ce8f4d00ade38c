"""Trains the shipped sentiment model: python sentiment.py DATA OUT, DATA being the folder that data/README.md describes.

A linear teacher labels the labelled and the weakly labelled texts; the bag learns what it says, and on labelled rows also the
labels. The epoch and the temperature are chosen on rows set aside of the training rows; the validation rows are only scored.
"""
import collections
import json
import os
import random
import sys
import time

import numpy as np
import torch
from sklearn.metrics import classification_report, confusion_matrix, recall_score
from torch import nn

import common
import teacher
from bag import Bag, batches, export, pad, predict

SEED = 7
LABELS = ["negative", "neutral", "positive"]
ASIDE = 2500  # training rows that nothing learns from
EPOCHS, BATCH, RATE = 4, 192, 3e-3
HARD = 0.3  # of the loss of a labelled row is its label's, the rest the teacher's
BUCKETS, WIDTH, HIDDEN = 65536, 64, 96


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def recall(truth, scores):
    return recall_score(truth, scores.argmax(1), average="macro")


class Average:
    """The mean of the weights over the last steps, which is steadier than the last ones."""

    def __init__(self, model):
        self.weights, self.times = {k: v.clone() for k, v in model.state_dict().items()}, 0

    def add(self, model):
        self.times += 1
        keep = min(0.97, self.times / (self.times + 10))
        for k, v in model.state_dict().items():
            self.weights[k].mul_(keep).add_(v, alpha=1 - keep)


def distil(rows, soft, hard, size, aside):
    """hard is -1 for rows without a label; aside gives the recall of a model on rows that were set aside."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    model = Bag(size, BUCKETS, WIDTH, HIDDEN, 3)
    opt = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, RATE, total_steps=EPOCHS * (len(rows) // BATCH + 1), pct_start=0.1, div_factor=5)
    soft, hard = torch.tensor(soft, dtype=torch.float32), torch.tensor(hard)
    weight = len(hard[hard >= 0]) / (3 * torch.bincount(hard[hard >= 0]))
    mean, step, best, kept = Average(model), 0, 0, None
    for epoch in range(EPOCHS):
        model.train()
        for part in batches(rows, BATCH, rng):
            ids = pad([rows[i] for i in part])
            ids[(torch.rand(ids.shape) < 0.1) & (ids != 0)] = 1
            y, label = model(ids), hard[part]
            labelled = (label >= 0).float()
            kl = -(soft[part] * torch.log_softmax(y, 1)).sum(1)
            ce = nn.functional.cross_entropy(y, label.clamp(min=0), weight=weight, reduction="none")
            loss = (kl * (1 - HARD * labelled) + HARD * labelled * ce).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            plan.step()
            step += 1
            if step % 20 == 0:
                mean.add(model)
        last = {k: v.clone() for k, v in model.state_dict().items()}
        for name, weights in (("last", last), ("mean", mean.weights)):
            model.load_state_dict(weights)
            score = aside(model)
            print(f"epoch {epoch + 1}, {name} weights: {score:.4f} aside", flush=True)
            if score > best:
                best, kept = score, {k: v.clone() for k, v in weights.items()}
        model.load_state_dict(last)
    model.load_state_dict(kept)
    return model


def log_loss(logits, labels):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


def temperature(logits, labels):
    """The divisor of the logits that makes the probabilities of the labels most likely."""
    return min(np.arange(0.4, 3.0, 0.02), key=lambda t: log_loss(logits / t, labels))


def calibration_error(logits, labels, bins=10):
    """The mean distance between how sure the model is and how often it is right, over bins of equal width."""
    p = softmax(logits)
    sure, right = p.max(1), p.argmax(1) == labels
    which = np.minimum((sure * bins).astype(int), bins - 1)
    return sum(abs((sure - right)[which == k].sum()) for k in range(bins)) / len(labels)


def finish(model, out, aside, validation):
    """Scales by temperature, writes the files, and scores the ONNX file; aside and validation are (rows, labels)."""
    raw = predict(model, validation[0])
    t = temperature(predict(model, aside[0]), aside[1])
    with torch.no_grad():
        model.out.weight /= t
        model.out.bias /= t
    export(model, os.path.join(out, "model.onnx"), "smelt sentiment: embedding bag, int8 tables")
    common.write_config(os.path.join(out, "config.json"), {
        "architectures": ["SmeltBagForSequenceClassification"], "id2label": dict(enumerate(LABELS)), "label2id": {l: i for i, l in enumerate(LABELS)},
        "problem_type": "single_label_classification", "max_position_embeddings": common.MAX_TOKENS,
        "smelt": {"kind": "classifier", "preprocess": "tweet", "special_tokens": False, "version": "1", "license": "Apache-2.0"}})
    import onnxruntime
    session = onnxruntime.InferenceSession(os.path.join(out, "model.onnx"), providers=["CPUExecutionProvider"])
    scores, rows, labels = [], *validation
    for k in range(0, len(rows), 64):
        ids = pad(rows[k : k + 64]).numpy()
        scores.append(session.run(None, {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)})[0])
    scores = np.concatenate(scores)
    figures = lambda z: {"macro recall": round(float(recall(labels, z)), 4), "log loss": round(float(log_loss(z, labels)), 4), "calibration error": round(float(calibration_error(z, labels)), 4)}
    print(json.dumps({"temperature": round(float(t), 2), "torch, before it": figures(raw), "onnx, after it": figures(scores)}, indent=1))
    print(classification_report(labels, scores.argmax(1), target_names=LABELS, digits=4))
    print(confusion_matrix(labels, scores.argmax(1)))


def main(data, out):
    start = time.time()
    train, validation = common.semeval(data)
    weak = [t for t, _ in common.weak(data)]
    random.Random(SEED).shuffle(weak)
    random.Random(SEED).shuffle(train)
    aside, train = train[:ASIDE], train[ASIDE:]
    print(len(train), "labelled,", len(aside), "aside,", len(weak), "weak,", len(validation), "validation", flush=True)
    counted = collections.Counter()
    for t, _ in train:
        counted.update({w: 3 for w in common.words(t)})
    for t in weak:
        counted.update(common.words(t))
    vocab = common.build_vocabulary(counted, 14000, 1500)
    tok = common.tokenizer(vocab)
    os.makedirs(out, exist_ok=True)
    tok.save(os.path.join(out, "tokenizer.json"), pretty=False)
    texts, labels = [t for t, _ in train], np.array([y for _, y in train])
    encoded = lambda part: (common.encode(tok, [t for t, _ in part]), np.array([y for _, y in part]))
    aside, validation = encoded(aside), encoded(validation)
    own, (weakly,) = teacher.soft(texts, labels, [weak])
    print("vocabulary", len(vocab), f"recall of the teacher on what it did not see {recall(labels, own):.4f}", f"{time.time() - start:.0f} s", flush=True)
    hard = np.concatenate([labels, np.full(len(weak), -1)])
    rows = common.encode(tok, texts) + common.encode(tok, weak)
    model = distil(rows, np.concatenate([own, weakly]), hard, len(vocab), lambda m: recall(aside[1], predict(m, aside[0])))
    finish(model, out, aside, validation)
    print(f"{time.time() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
