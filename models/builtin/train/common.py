"""What all three models share: preprocessing, the vocabulary, the tokenizer file, and int8 tables in ONNX.

Go does the same preprocessing in models/preprocess.go; testdata/golden.json holds both to it.
"""
import collections
import gzip
import json
import os
import re
import unicodedata

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

MAX_TOKENS = 64
ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&apos;": "'", "&nbsp;": " "}
ENTITY = re.compile("|".join(ENTITIES))
URL = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
NAME = re.compile(r"@[A-Za-z0-9_]+")
RUN = re.compile(r"(.)\1{2,}", re.DOTALL)
QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})


def letter(c):
    return unicodedata.category(c)[0] == "L"


def preprocess(text):
    """The `tweet` preprocessing, in this order: entities, links, names, quotes, apostrophes inside words, long runs."""
    text = ENTITY.sub(lambda m: ENTITIES[m.group()], text)
    text = URL.sub("url", text)
    text = NAME.sub("user", text)
    text = text.translate(QUOTES)
    out = []
    for i, c in enumerate(text):
        if c == "'" and 0 < i < len(text) - 1 and letter(text[i - 1]) and letter(text[i + 1]):
            continue
        out.append(c)
    return RUN.sub(r"\1\1", "".join(out))


NORMALIZER = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
SPLITTER = pre_tokenizers.BertPreTokenizer()


def words(text):
    return [w for w, _ in SPLITTER.pre_tokenize_str(NORMALIZER.normalize_str(preprocess(text)))]


def build_vocabulary(counted, whole, pieces):
    """The most frequent words, every character with and without ##, and the most frequent parts of the rarer words."""
    frequent = [w for w, _ in counted.most_common(whole)]
    chars = collections.Counter()
    parts = collections.Counter()
    known = set(frequent)
    for w, n in counted.items():
        for c in set(w):
            chars[c] += n
        if w in known or len(w) > 30 or n < 2:
            continue
        for size in range(2, 7):
            if size < len(w):
                parts[w[:size]] += n
                parts["##" + w[-size:]] += n
    letters = [c for c, n in chars.most_common(1500) if n >= 3]
    vocab = ["[PAD]", "[UNK]"] + frequent
    for p in letters + ["##" + c for c in letters] + [p for p, _ in parts.most_common(pieces)]:
        vocab.append(p)
    return {t: i for i, t in enumerate(dict.fromkeys(vocab))}


def tokenizer(vocab):
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=100))
    t.normalizer, t.pre_tokenizer = NORMALIZER, SPLITTER
    return t


def encode(tok, texts, most=MAX_TOKENS):
    return [e.ids[:most] for e in tok.encode_batch([preprocess(t) for t in texts], add_special_tokens=False)]


def semeval(data):
    """Labelled tweets: (train, validation), each a list of (text, label) with labels 0 negative, 1 neutral, 2 positive."""
    order = {"negative": 0, "neutral": 1, "positive": 2}
    train, validation = [], []
    with gzip.open(os.path.join(data, "sentiment", "semeval_2013_2016.jsonl.gz"), "rt") as f:
        for line in f:
            row = json.loads(line)
            label = row.get("label", row.get("sentiment"))
            label = label if isinstance(label, int) else order[label]
            (validation if row["in_tweeteval_val"] else train).append((row["text"], label))
    return train, validation


def weak(data):
    """Texts labelled by emoticon. Lines with damaged bytes are dropped, because that damage follows the label."""
    out = []
    folder = os.path.join(data, "sentiment")
    for name in sorted(os.listdir(folder)):
        if not name.startswith("sentiment140_"):
            continue
        with gzip.open(os.path.join(folder, name), "rt", encoding="utf-8", errors="replace") as f:
            for line in f:
                if not any(bad in line for bad in ("ï¿½", "Ã", "Â", "â€", "\ufffd")):
                    out.append((line.rstrip("\n"), 2 if "pos" in name else 0))
    return out


def quantise(table):
    """Rows as int8 and one scale a row, so that a rare word does not lose its few digits to a frequent one."""
    scale = np.maximum(np.abs(table).max(axis=1), 1e-8) / 127.0
    return np.clip(np.rint(table / scale[:, None]), -127, 127).astype(np.int8), scale.astype(np.float32)


class Graph:
    """A few lines around onnx.helper."""

    def __init__(self, name):
        self.name, self.nodes, self.weights, self.count = name, [], [], 0

    def const(self, array, name=None):
        name = name or f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, kind, *inputs, out=None, **attrs):
        self.count += 1
        out = out or f"t{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attrs))
        return out

    def rows(self, table, ids):
        """Gathers int8 rows first and makes floats of the gathered ones only."""
        q, scale = quantise(table)
        picked = self.op("Cast", self.op("Gather", self.const(q), ids), to=TensorProto.FLOAT)
        factor = self.op("Unsqueeze", self.op("Gather", self.const(scale), ids), self.const(np.array([2], np.int64)))
        return self.op("Mul", picked, factor)

    def mask(self):
        """The mask as float, [batch, sequence, 1]."""
        return self.op("Unsqueeze", self.op("Cast", "attention_mask", to=TensorProto.FLOAT), self.const(np.array([2], np.int64)))

    def total(self, x, mask):
        """Sums the masked rows x, [batch, sequence, width], over the sequence. A product with the mask as a row, and not
        ReduceSum: that one adds in another order for another batch, and a text's result would hang on its neighbours."""
        row = self.op("Transpose", mask, perm=[0, 2, 1])
        return self.op("Squeeze", self.op("MatMul", row, x), self.const(np.array([1], np.int64)))

    def length(self, x):
        """The length of each row of x, [batch, width], as [batch, 1]; a product for the same reason."""
        row = self.op("Unsqueeze", x, self.const(np.array([1], np.int64)))
        column = self.op("Unsqueeze", x, self.const(np.array([2], np.int64)))
        return self.op("Sqrt", self.op("Squeeze", self.op("MatMul", row, column), self.const(np.array([2], np.int64))))

    def save(self, path, output, width, doc):
        i64 = lambda n: helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"])
        out = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])
        graph = helper.make_graph(self.nodes, self.name, [i64("input_ids"), i64("attention_mask")], [out], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="smelt", doc_string=doc)
        model.ir_version = 9
        onnx.checker.check_model(model)
        onnx.save(model, path)


def write_config(path, config):
    with open(path, "w") as f:
        json.dump(config, f, indent=1, ensure_ascii=False)
        f.write("\n")
