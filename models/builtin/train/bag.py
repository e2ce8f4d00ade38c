"""The embedding bag: mean and gated sum of piece vectors, hashed bigrams, one hidden layer. Trained in torch, saved as ONNX."""
import numpy as np
import torch
from torch import nn

from common import Graph

A, B = 1000003, 7919  # the hash of a bigram


class Bag(nn.Module):
    def __init__(self, vocabulary, buckets, width, hidden, labels, dropout=0.3):
        super().__init__()
        self.buckets = buckets
        self.piece = nn.Embedding(vocabulary, width, padding_idx=0)
        self.gate = nn.Embedding(vocabulary, 1, padding_idx=0)
        self.pair = nn.Embedding(buckets, width)
        nn.init.normal_(self.piece.weight, std=0.1)
        nn.init.zeros_(self.gate.weight)
        nn.init.normal_(self.pair.weight, std=0.05)
        self.hidden = nn.Linear(3 * width, hidden)
        self.out = nn.Linear(hidden, labels)
        self.drop = nn.Dropout(dropout)

    def forward(self, ids):
        mask = (ids != 0).float().unsqueeze(2)
        n = mask.sum(1).clamp(min=1)
        e = self.piece(ids) * mask
        gated = (torch.sigmoid(self.gate(ids)) * e).sum(1)
        pair = self.pair((ids[:, :-1] * A + ids[:, 1:] * B) % self.buckets) * mask[:, 1:]
        x = torch.cat([e.sum(1) / n, gated / n.sqrt(), pair.sum(1) / n.sqrt()], 1)
        return self.out(self.drop(torch.relu(self.hidden(self.drop(x)))))


def pad(rows):
    width = max(2, max(len(r) for r in rows))
    out = np.zeros((len(rows), width), np.int64)
    for i, r in enumerate(rows):
        out[i, : len(r)] = r
    return torch.from_numpy(out)


def predict(model, rows, size=256):
    model.eval()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    out = [None] * len(rows)
    with torch.no_grad():
        for k in range(0, len(order), size):
            part = order[k : k + size]
            for i, y in zip(part, model(pad([rows[i] for i in part])).numpy()):
                out[i] = y
    return np.stack(out)


def batches(rows, size, rng):
    """Batches of similar length, in random order."""
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]) + rng.random() * 4))
    parts = [order[k : k + size] for k in range(0, len(order), size)]
    rng.shuffle(parts)
    return parts


def export(model, path, doc):
    """Writes the same computation with int8 tables; `logits` of padded places and of neighbours do not mix."""
    g = Graph("bag")
    w = {k: v.detach().numpy() for k, v in model.state_dict().items()}
    axis1, axis2 = g.const(np.array([1], np.int64)), g.const(np.array([2], np.int64))
    mask = g.mask()
    n = g.op("Max", g.op("ReduceSum", mask, axis1, keepdims=0), g.const(np.float32(1)))
    e = g.op("Mul", g.rows(w["piece.weight"], "input_ids"), mask)
    gate = g.op("Unsqueeze", g.op("Sigmoid", g.op("Gather", g.const(w["gate.weight"][:, 0].astype(np.float32)), "input_ids")), axis2)
    one, none, end = (g.const(np.array([v], np.int64)) for v in (1, 0, 2**62))
    # The text moved by one, with a hidden place at its end: never of length 0, over which a product is undefined.
    def moved(x, zero):
        first = g.op("Slice", x, none, one, one)
        return g.op("Slice", g.op("Concat", x, g.op("Mul", first, zero), axis=1), one, end, one)
    right, shown = moved("input_ids", g.const(np.int64(0))), moved(mask, g.const(np.float32(0)))
    i64 = lambda v: g.const(np.int64(v))
    bucket = g.op("Mod", g.op("Add", g.op("Mul", "input_ids", i64(A)), g.op("Mul", right, i64(B))), i64(model.buckets))
    pair = g.op("Mul", g.rows(w["pair.weight"], bucket), shown)
    root = g.op("Sqrt", n)
    x = g.op("Concat", g.op("Div", g.total(e, mask), n), g.op("Div", g.total(g.op("Mul", gate, e), mask), root),
             g.op("Div", g.total(pair, shown), root), axis=1)
    h = g.op("Relu", g.op("Gemm", x, g.const(w["hidden.weight"]), g.const(w["hidden.bias"]), transB=1))
    g.op("Gemm", h, g.const(w["out.weight"]), g.const(w["out.bias"]), transB=1, out="logits")
    g.save(path, "logits", w["out.bias"].shape[0], doc)
