"""Makes pysentimiento.json, what pysentimiento 0.7.3 with emoji 2.8.0 does to texts before a model: python make_pysentimiento.py [AIRLINE.jsonl]

Only its module preprocessing is run; the rest of the library, and what that needs, may be missing (pip install --no-deps).
"""
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import random
import sys

import emoji

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = ["#OneTwo", "#oneTWOThree", "#1", "#1a", "##x", "a#b", "_#b", "#ÉtéOK", "#日本x", "é#Tag", "@user", "@", "@aVeryLongNameOfSomebody", "a@b.com", "http://t.co/abc", "https://example.com/x?a=1", "www.foo.co.uk/a/b",
         "foo.com", "(foo.com)", "éfoo.com", "é.foo.com", "_foo.com", "x.y.z.w.v.u.com", "sub.日本.jp", "http://a", "foo.community", "foo.com/é", "soooo", "!!!!!", "\n\n\n\n", "😀😀😀😀", "👍🏽", "❤️", "❤", "♡", "♥", "☻", "☺", "👨‍👩‍👧‍👦",
         "🇺🇸", "1️⃣", "|a_b|", "|", "||", "hahaha", "hahahahaha", "ahahah", "hhaahh", "Hahaha", "haha", "“x”", "«y»", "’", "…", "€5", "£5", "‼", "ا", "ー", "~", "word", "Two Words", "İ", "ΣΊΣΥΦΟΣ", "#ΣΊΣΥΦΟΣ a", "\u00a0", "\x1c", "🫩", "🐻‍❄️"]


def module():
    path = next(f.locate() for f in importlib.metadata.files("pysentimiento") if f.name == "preprocessing.py")
    spec = importlib.util.spec_from_file_location("preprocessing", path)
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return m


def hard(n):
    r = random.Random(3)
    return ["".join(r.choice(PARTS) + r.choice(["", " ", " ", ".", "/", "-"]) for _ in range(r.randint(1, 7))) for _ in range(n)]


def main():
    assert emoji.__version__ == "2.8.0" and importlib.metadata.version("pysentimiento") == "0.7.3"
    prepare = module().preprocess_tweet
    with open(os.path.join(HERE, "architectures", "texts.json")) as f:
        texts = json.load(f) + hard(700)
    golden = {"texts": [[x, prepare(x, lang="en")] for x in texts]}
    if len(sys.argv) > 1:
        h = hashlib.sha256()
        for line in open(sys.argv[1]):
            h.update(prepare(json.loads(line)["text"], lang="en").encode() + b"\n")
        golden["airline_sha256"] = h.hexdigest()
    with open(os.path.join(HERE, "pysentimiento.json"), "w") as f:
        json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


main()
