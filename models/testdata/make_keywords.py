"""Golden keywords: python make_keywords.py MODELS. KeyBERT's extract_keywords on the shipped encoder, one document a call.

KeyBERT itself runs where it can be imported (pip install --no-deps keybert); its model is a backend around our ONNX file.
"""
import json
import os
import sys

import numpy as np
import onnxruntime
from keybert import KeyBERT
from keybert.backend import BaseEmbedder
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "builtin", "train"))
import common

TEXTS = [
    "The pilot landed the plane at the airport in heavy snow while the passengers slept",
    "Supervised learning is the machine learning task of learning a function that maps an input to an output based on example input-output pairs",
    "Our flight was delayed for three hours and nobody at the gate said a word, worst airline of the year",
    "New album tonight! The band plays the whole record live at the festival, tickets are almost gone",
    "I don't know why the coffee machine at work only makes tea, but the tea is good tea",
    "music music music festival", "coffee", "a b c d e", "the and of", "MiXeD CaSe WORDS and CamelCase words",
    "café naïve résumé Ångström straße", "日本語 のテキスト and some english words", "@user check https://example.com/x now, great deal &amp; free shipping!!!",
    "the president spoke about the war and the economy while protesters waited outside parliament in the rain",
    "42 is the answer, 2024 the year, a_b the name, x the unknown",
]
SETTINGS = [{}, {"top_n": 3}, {"keyphrase_ngram_range": (1, 2)}, {"keyphrase_ngram_range": (1, 3), "top_n": 10},
            {"use_mmr": True, "diversity": 0.5}, {"use_mmr": True, "diversity": 0.2, "keyphrase_ngram_range": (1, 2), "top_n": 8}, {"use_mmr": True, "diversity": 0.9, "keyphrase_ngram_range": (1, 2)}]


class Backend(BaseEmbedder):
    def __init__(self, folder):
        super().__init__()
        self.tokens = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), providers=["CPUExecutionProvider"])

    def embed(self, documents, verbose=False):
        out = []
        for ids in common.encode(self.tokens, list(documents)):
            ids, mask = (ids, [1] * len(ids)) if ids else ([0], [0])
            out.append(self.session.run(None, {"input_ids": np.array([ids], np.int64), "attention_mask": np.array([mask], np.int64)})[0][0])
        return np.stack(out)


def main(models):
    kw = KeyBERT(model=Backend(os.path.join(models, "encoder")))
    golden = []
    for settings in SETTINGS:
        for text in TEXTS:
            found = kw.extract_keywords(text, **settings)
            golden.append({"text": text, "top_n": settings.get("top_n", 5), "max_ngram": settings.get("keyphrase_ngram_range", (1, 1))[1],
                           "mmr": settings.get("use_mmr", False), "diversity": settings.get("diversity", 0.5), "keywords": [[t, s] for t, s in found]})
    with open(os.path.join(HERE, "keybert.json"), "w") as f:
        json.dump(golden, f, ensure_ascii=True, indent=0)


main(sys.argv[1])
