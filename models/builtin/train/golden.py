"""Writes what the Go side is held to: python golden.py MODELS, MODELS being the folder that holds the three models.

testdata/golden.json: preprocessing and ids; testdata/logits.json: the outputs of the ONNX files.
"""
import json
import os
import sys

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

import common

NASTY = [
    "", " ", "\t\n", "plain words only", "UPPER lower MiXeD", "don't can't I'm we'll they've", "rock'n'roll ''quoted'' 's '", "it’s “curly” ‘quotes’", "l'été d'accord",
    "@user", "@user_1: hello @Other!", "mail a@b.example", "@", "@@double @-dash", "＠wide", "#tag #another_tag", "see https://example.com/x?a=1&b=2 now", "http:// nothing", "www.example.org,", "HTTPS://EXAMPLE.COM/X",
    "wwww.example", "xhttp://glued.example/y z", "https://a.example\u00a0nbsp", "https://a.example\x1cfs", "http://é.example/ü ok", "&amp; &lt;b&gt; &quot;q&quot; &#39;s &apos; &nbsp;|", "&amp;lt; nested", "&AMP; &amp", "&amp;#39;",
    "sooooo goooood", "!!!!!! ???? ....", "aaa", "aabbbcccc", "😀😀😀😀", "👍🏽👍🏽👍🏽", "👨‍👩‍👧‍👦 family", "🏳️‍🌈", "❤️❤️❤️", "é" * 5, "e\u0301e\u0301e\u0301e\u0301", "naïve café résumé Ångström", "İstanbul ıı", "ΣΊΣΥΦΟΣ", "straße",
    "日本語のテキスト", "中文abc中文", "한국어 텍스트", "ภาษาไทย", "हिन्दी", "العربية", "кириллица", "null\x00byte", "bell\x07", "\ufffdreplacement", "\ufeffbom", "zero\u200bwidth", "line\u2028sep", "tab\tand\r\nline",
    "[CLS] [SEP] [UNK] [PAD]", "<s> </s>", "x" * 101, "word " * 90, "50% off, $9.99!", "C++ & C#", "a_b __c__", "…—–", "¿qué? ¡sí!", "½ ² Ⅷ ①", "ｆｕｌｌｗｉｄｔｈ",
]
TEXTS = [
    "I love this so much, thank you!", "worst service ever, never again", "the train leaves at nine", "meh", "what a goal, champions again", "new album tonight, on repeat", "my mum made soup", "stocks are down and so am I",
    "@support my parcel is lost again :(", "best day of the year 😀", "studying for finals with my roommate", "the museum opens a new exhibition of poems", "we ran a marathon in the rain", "this phone update is terrible", "", "日本", "zzzz qqqq",
    "cooking dinner for the family and watching a movie", "the president spoke about the war", "flight delayed, lost luggage, great beach",
]


def run(folder, texts):
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), providers=["CPUExecutionProvider"])
    out = []
    for text, ids in zip(texts, common.encode(tok, texts)):
        ids, mask = (ids, [1] * len(ids)) if ids else ([0], [0])
        feed = {"input_ids": np.array([ids], np.int64), "attention_mask": np.array([mask], np.int64)}
        out.append({"text": text, "output": [round(float(v), 6) for v in session.run(None, feed)[0][0]]})
    return out


def main(models):
    target = os.path.join(models, "testdata")
    os.makedirs(target, exist_ok=True)
    tok = Tokenizer.from_file(os.path.join(models, "sentiment", "tokenizer.json"))
    golden = [{"text": t, "preprocessed": common.preprocess(t), "ids": ids} for t, ids in zip(NASTY, common.encode(tok, NASTY))]
    with open(os.path.join(target, "golden.json"), "w") as f:
        json.dump(golden, f, ensure_ascii=True, indent=0)
    with open(os.path.join(target, "logits.json"), "w") as f:
        json.dump({m: run(os.path.join(models, m), TEXTS) for m in ("sentiment", "topic", "encoder")}, f, ensure_ascii=True)


main(sys.argv[1])
