"""Makes the files of BERTweet's tokenizer and its golden ids with transformers and emoji 0.6.0: python make_bertweet.py [AIRLINE.jsonl]

The pieces are trained on the sample tweets of this project, in its normalized form, with and without normalization.
"""
import hashlib
import json
import os
import random
import sys

import emoji
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import BertweetTokenizer

from make import HARD, HERE, MORE, corpus, tweets

FOLDER = os.path.join(HERE, "bertweet")
HEADS = ["http://", "https:", "HTTPS://", "www.", "httpſ://", "http:/", "a.b-c.co", "foo.com", "ＦＯＯ.com", "x@foo.com", "foo.com@x", "@foo.com", "foo.com/", "foo.com/@", "ex.am.ple.io/a_b(c)d", "t.co/x?y=1&z",
         "(http://a.b/c)", "http://a.b/c(d(e)f)g", "http://a(b", "a.b.c.d.e.museumx", "1.2.3.4", "K.ſı.com"]
PARTS = ["+1 (555) 123-4567", "555 1234", "5551234567", "123-45", "3.14", "1,000", "-5/6+", "10:30", "p.m.", "a . m .", "p . m . now", "p.m", ":-)", ":D", "<3", "8-D", ":'(", "(;", "</3", "<b>", "<a href=x>", "-->", "<--",
         "@user", "@ user", "#tag", "##tag_1'x", "#1", "a.b+c@d-e.fg.hi", "don't", "can't", "cannot", "cannot ", "ain't", "ca n't", "it's", "I'm", "we'll", "they'd", "you've", "you're", "well-known_thing-", "'", "-", "_", "..", ". . .",
         "...", "…", "’", "don’t", "&amp;", "&lt;3", "&#39;", "&#x27;", "&#8217;", "&#128512;", "&nbsp;", "&xi;", "&unknown;", "&#x80;", "&#x81;", "&#xD800;", "&#99999999;", "&#1_0;", "&#-5;", "&hellip;", "&rsquo;", "&", ";", "&#;", "&lt;s&gt;",
         "!!!!!!", "?!?!", "......", "-----", "(((((", "\ufe0f", "❤️", "👍🏽", "🇺🇸", "⛩", "😡", "🥰", "1️⃣", "ⓐⓑ", "²", "Ⅷ", "١٢٣", "e\u0301", "a\u200db", "‿", "日本", "\x1c", "\u00a0", "\n", "\n\n", "\r\n", "<s>", "</s>", "<unk>", "<mask>", "http", "wwww", "ſ", "İ", "K"]


def hard(n):
    r = random.Random(5)
    out = []
    for _ in range(n):
        k = r.randint(1, 8)
        out.append("".join(r.choice(HEADS if r.random() < 0.3 else PARTS) + r.choice(["", "", " ", " ", "  ", ".", ",", ")", "@", "/", "-", "a", "9"]) for _ in range(k)))
    return out


def train(lines):
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "vocab.txt"), "w") as v, open(os.path.join(FOLDER, "bpe.codes"), "w") as c:
        v.write("a 1\n")
        c.write("a b 1\n")
    plain = BertweetTokenizer(os.path.join(FOLDER, "vocab.txt"), os.path.join(FOLDER, "bpe.codes"))
    lines = [plain.normalizeTweet(x) for x in lines]
    t = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    t.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=1500, end_of_word_suffix="</w>", show_progress=False))
    m = json.loads(t.to_str())["model"]
    vocab = sorted(m["vocab"], key=m["vocab"].get)
    with open(os.path.join(FOLDER, "vocab.txt"), "w") as f:
        for i, piece in enumerate(vocab):
            f.write((piece[:-4] if piece.endswith("</w>") else piece + "@@") + f" {9000 - i}\n")
    with open(os.path.join(FOLDER, "bpe.codes"), "w") as f:
        for i, two in enumerate(m["merges"]):
            f.write(" ".join(two) + f" {9000 - i}\n")


def main():
    assert emoji.__version__ == "0.6.0"
    lines = corpus()
    real = [json.loads(l)["text"] for l in open(sys.argv[1])] if len(sys.argv) > 1 else []
    train(lines)
    for name, on in {"bertweet": True, "bertweet-plain": False}.items():
        t = BertweetTokenizer(os.path.join(FOLDER, "vocab.txt"), os.path.join(FOLDER, "bpe.codes"), normalization=on)
        texts = HARD + MORE + tweets(60) + hard(900 if on else 100)
        golden = {"texts": [{"text": x, "ids": t(x)["input_ids"]} for x in texts]}
        if real:
            h = hashlib.sha256()
            for x in real:
                h.update((",".join(map(str, t(x)["input_ids"])) + "\n").encode())
            golden["airline_sha256"] = h.hexdigest()
        if on:
            golden["normalized"] = [t.normalizeTweet(x) for x in texts]
        with open(os.path.join(HERE, name + ".golden.json"), "w") as f:
            json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))


main()
