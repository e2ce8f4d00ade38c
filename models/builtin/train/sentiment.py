"""Trains the shipped sentiment model: python sentiment.py DATA OUT, DATA being the folder that data/README.md describes.

Two teachers, a linear model over word and character n-grams and a convolution, label the labelled and the weakly labelled
texts; the bag learns from their average. The validation rows are only ever used to choose the epoch and the temperature.
"""
import collections
import json
import os
import random
import sys
import time

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, confusion_matrix, recall_score
from sklearn.pipeline import FeatureUnion
from torch import nn

import common
from bag import Bag, batches, export, pad, predict

SEED = 7
LABELS = ["negative", "neutral", "positive"]


class CNN(nn.Module):
    def __init__(self, vocabulary, width=96, filters=100):
        super().__init__()
        self.piece = nn.Embedding(vocabulary, width, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(width, filters, k, padding=k // 2) for k in (1, 3, 5))
        self.drop = nn.Dropout(0.4)
        self.out = nn.Linear(3 * filters, 3)

    def forward(self, ids):
        mask = (ids != 0).unsqueeze(1)
        x = self.piece(ids).transpose(1, 2) * mask
        pooled = [torch.relu(c(x)).masked_fill(~mask, 0).max(2).values for c in self.convs]
        return self.out(self.drop(torch.cat(pooled, 1)))


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def recall(truth, scores):
    return recall_score(truth, scores.argmax(1), average="macro")


def linear_teacher(train, labels):
    union = FeatureUnion([
        ("words", TfidfVectorizer(preprocessor=lambda t: common.preprocess(t).lower(), token_pattern=r"(?u)\b\w+\b|[^\w\s]", ngram_range=(1, 2), min_df=3, sublinear_tf=True)),
        ("chars", TfidfVectorizer(preprocessor=lambda t: common.preprocess(t).lower(), analyzer="char_wb", ngram_range=(2, 5), min_df=5, max_features=150000, sublinear_tf=True)),
    ])
    x = union.fit_transform(train)
    model = LogisticRegression(C=1, solver="saga", tol=1e-2, max_iter=60, class_weight="balanced", random_state=SEED).fit(x, labels)
    return lambda texts: model.predict_proba(union.transform(texts))


def cnn_teacher(rows, labels, val_rows, val_labels, size, epochs=4):
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    model = CNN(size)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    steps = epochs * (len(rows) // 64 + 1)
    plan = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.05, steps)
    counts = np.bincount(labels)
    weight = torch.tensor(len(labels) / (3 * counts), dtype=torch.float32)
    best, kept = 0, None
    for epoch in range(epochs):
        model.train()
        for part in batches(rows, 64, rng):
            ids = pad([rows[i] for i in part])
            ids[(torch.rand(ids.shape) < 0.05) & (ids != 0)] = 1
            loss = nn.functional.cross_entropy(model(ids), torch.tensor([labels[i] for i in part]), weight=weight, label_smoothing=0.05)
            opt.zero_grad()
            loss.backward()
            opt.step()
            plan.step()
        score = recall(val_labels, predict(model, val_rows))
        print(f"cnn epoch {epoch + 1}: {score:.4f}", flush=True)
        if score > best:
            best, kept = score, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(kept)
    return lambda r: softmax(predict(model, r))


def distil(rows, soft, hard, val_rows, val_labels, size, epochs, buckets, width):
    """hard is -1 for rows without a label."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    model = Bag(size, buckets, width, 96, 3)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.05, epochs * (len(rows) // 128 + 1))
    known = [h for h in hard if h >= 0]
    weight = torch.tensor(len(known) / (3 * np.bincount(known)), dtype=torch.float32)
    best, kept = 0, None
    for epoch in range(epochs):
        model.train()
        for part in batches(rows, 128, rng):
            ids = pad([rows[i] for i in part])
            ids[(torch.rand(ids.shape) < 0.1) & (ids != 0)] = 1
            y = model(ids)
            target = torch.tensor(soft[part], dtype=torch.float32)
            label = torch.tensor([hard[i] for i in part])
            labelled = (label >= 0).float()
            kl = -(target * torch.log_softmax(y, 1)).sum(1)
            ce = nn.functional.cross_entropy(y, label.clamp(min=0), weight=weight, reduction="none")
            loss = (kl * (1 - 0.3 * labelled) + 0.3 * labelled * ce).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            plan.step()
        score = recall(val_labels, predict(model, val_rows))
        print(f"bag epoch {epoch + 1}: {score:.4f}", flush=True)
        if score > best:
            best, kept = score, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(kept)
    return model


def temperature(logits, labels):
    """The divisor of the logits that makes the probabilities of the labels most likely."""
    def loss(t):
        return -np.log(softmax(logits / t)[np.arange(len(labels)), labels]).mean()
    return min(np.arange(0.4, 3.0, 0.02), key=loss)


def main(data, out, quick):
    start = time.time()
    train, validation = common.semeval(data)
    weak = common.weak(data)
    random.Random(SEED).shuffle(weak)
    if quick:
        weak = weak[:30000]
    print(len(train), "labelled,", len(weak), "weak,", len(validation), "validation", flush=True)
    counted = collections.Counter()
    for t, _ in train:
        counted.update({w: 3 for w in common.words(t)})
    for t, _ in weak:
        counted.update(common.words(t))
    vocab = common.build_vocabulary(counted, 14000, 1500)
    tok = common.tokenizer(vocab)
    os.makedirs(out, exist_ok=True)
    tok.save(os.path.join(out, "tokenizer.json"), pretty=False)
    texts, labels = [t for t, _ in train], [y for _, y in train]
    val_texts, val_labels = [t for t, _ in validation], np.array([y for _, y in validation])
    rows, val_rows = common.encode(tok, texts), common.encode(tok, val_texts)
    weak_texts = [t for t, _ in weak]
    weak_rows = common.encode(tok, weak_texts)
    print("vocabulary", len(vocab), f"{time.time() - start:.0f} s", flush=True)
    linear = linear_teacher(texts, labels)
    val_linear = linear(val_texts)
    print(f"linear: {recall(val_labels, val_linear):.4f} {time.time() - start:.0f} s", flush=True)
    cnn = cnn_teacher(rows, labels, val_rows, val_labels, len(vocab), 2 if quick else 4)
    print(f"average: {recall(val_labels, val_linear + cnn(val_rows)):.4f} {time.time() - start:.0f} s", flush=True)
    soft = np.concatenate([linear(texts) + cnn(rows), linear(weak_texts) + cnn(weak_rows)]) / 2
    hard = labels + [-1] * len(weak)
    model = distil(rows + weak_rows, soft, hard, val_rows, val_labels, len(vocab), 3 if quick else 6, 65536, 64)
    t = temperature(predict(model, val_rows), val_labels)
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
    scores = []
    for k in range(0, len(val_rows), 64):
        ids = pad(val_rows[k : k + 64]).numpy()
        scores.append(session.run(None, {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)})[0])
    scores = np.concatenate(scores)
    probability = softmax(scores)
    report = {"validation rows": len(val_labels), "macro recall, torch": round(recall(val_labels, predict(model, val_rows)), 4), "macro recall, onnx": round(recall(val_labels, scores), 4),
              "temperature": round(float(t), 2), "log loss": round(float(-np.log(probability[np.arange(len(val_labels)), val_labels]).mean()), 4), "seconds": round(time.time() - start)}
    print(json.dumps(report, indent=1))
    print(classification_report(val_labels, scores.argmax(1), target_names=LABELS, digits=4))
    print(confusion_matrix(val_labels, scores.argmax(1)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--quick" in sys.argv)
