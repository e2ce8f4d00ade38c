"""Golden keywords: python make_keywords.py MODELS, MODELS being the folder that holds `encoder`.

KeyBERT's own extract_keywords (pip install --no-deps keybert==0.9.0), one document a call; its model is a backend around
our ONNX file. Settings are written by KeyBERT's names, as keywords(text, options) takes them.
"""
import json
import os
import sys
import warnings

import keybert
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
    "music music music festival", "coffee", "a b c d e", "the and of", "", "MiXeD CaSe WORDS and CamelCase words",
    "café naïve résumé Ångström straße", "日本語 のテキスト and some english words", "@user check https://example.com/x now, great deal &amp; free shipping!!!",
    "the president spoke about the war and the economy while protesters waited outside parliament in the rain",
    "42 is the answer, 2024 the year, a_b the name, x the unknown",
    "Der Zug nach Hamburg fährt heute nicht, weil die Strecke gesperrt ist", "हिन्दी में एक वाक्य, İstanbul ve ΣΊΣΥΦΟΣ",
    "Databricks and Snowflake both sell a lakehouse now: one began with Spark notebooks, the other with a SQL warehouse, and customers compare the bills at the end of each month",
]
OWN = ["the", "and", "flight", "tea", "zug"]
CANDIDATES = ["machine learning", "learning", "airline", "flight", "coffee machine", "snow", "plane", "rain", "war", "festival", "tea", "Not Lower", "lakehouse"]
SEEDS = ["travel by air", "weather"]
SETTINGS = [
    {}, {"top_n": 3}, {"top_n": 1}, {"top_n": 50}, {"keyphrase_ngram_range": [1, 2]}, {"keyphrase_ngram_range": [2, 2]}, {"keyphrase_ngram_range": [2, 3], "top_n": 4},
    {"keyphrase_ngram_range": [1, 3], "top_n": 10},
    {"stop_words": None}, {"stop_words": None, "keyphrase_ngram_range": [1, 2], "top_n": 8}, {"stop_words": OWN}, {"stop_words": [], "top_n": 4}, {"stop_words": OWN, "keyphrase_ngram_range": [1, 2]},
    {"use_mmr": True}, {"use_mmr": True, "diversity": 0.2, "keyphrase_ngram_range": [1, 2], "top_n": 8}, {"use_mmr": True, "diversity": 0.9, "keyphrase_ngram_range": [1, 2]},
    {"use_mmr": True, "diversity": 0.7, "stop_words": None, "top_n": 6}, {"use_mmr": True, "diversity": 0}, {"use_mmr": True, "diversity": 1},
    {"use_maxsum": True}, {"use_maxsum": True, "top_n": 3, "nr_candidates": 10}, {"use_maxsum": True, "top_n": 2, "nr_candidates": 2}, {"use_maxsum": True, "top_n": 4, "nr_candidates": 12, "keyphrase_ngram_range": [1, 2]},
    {"use_maxsum": True, "use_mmr": True, "diversity": 0.3}, {"diversity": 0.9},
    {"candidates": CANDIDATES}, {"candidates": CANDIDATES, "keyphrase_ngram_range": [1, 2]}, {"candidates": CANDIDATES, "use_mmr": True, "diversity": 0.6, "keyphrase_ngram_range": [1, 2]},
    {"candidates": []}, {"candidates": ["tea", "tea"]}, {"candidates": ["the", "the plane"], "stop_words": None, "keyphrase_ngram_range": [1, 2]},
    {"seed_keywords": SEEDS}, {"seed_keywords": ["music"], "keyphrase_ngram_range": [1, 2]}, {"seed_keywords": SEEDS, "use_mmr": True, "diversity": 0.4}, {"seed_keywords": SEEDS, "use_maxsum": True, "top_n": 3, "nr_candidates": 8},
    {"seed_keywords": SEEDS, "candidates": CANDIDATES},
]


class Backend(BaseEmbedder):
    """The shipped encoder, one text a run, so that no text's vector hangs on its neighbours."""

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
    warnings.simplefilter("ignore")  # that upper case candidates never match is what the golden file shows
    assert keybert.__version__ == "0.9.0", keybert.__version__
    kw = KeyBERT(model=Backend(os.path.join(models, "encoder")))
    golden = []
    for settings in SETTINGS:
        options = {k: tuple(v) if k == "keyphrase_ngram_range" else v for k, v in settings.items()}
        found = [kw.extract_keywords(text, **options) if text else [] for text in TEXTS]
        golden.append({"options": settings, "keywords": [[[t, s] for t, s in f] for f in found]})
    with open(os.path.join(HERE, "keybert.json"), "w") as f:
        f.write('{"texts": ' + json.dumps(TEXTS) + ',\n "cases": [\n' + ",\n".join(json.dumps(g) for g in golden) + "\n]}\n")


main(sys.argv[1])
