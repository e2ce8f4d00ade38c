"""Makes golden.json of this folder: python make.py old|new, in an environment with emoji 0.6.0 or emoji 2.8.0

It holds the SHA-256 of the names that each version gives, and what emoji 2.8.0 makes of texts.
"""
import hashlib
import json
import os
import random
import sys

import emoji

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(HERE, "golden.json")
HARD = ["", "plain", "😀", "great 👍🏽 job", "👨‍👩‍👧‍👦 family 🏳️‍🌈 🇺🇸🇯🇵", "❤️ ❤ ❤︎ ☺ ☺️", "👨‍👩", "👨‍👩‍", "👨‍x", "👩‍❤️‍👨🏽", "👍‍👍", "🏽‍👍", "👍🏽‍👍🏽", "‍👍🏽", "👍‍🏽", "😀‍🦰",
        "🇺🇸🇯", "🇺x", "1️⃣ #️⃣ 1", "\ufe0f", "a\ufe0fb", "😀\ufe0e", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧", "🧑🏻‍🤝‍🧑🏿", "⛩ ☆ ♟", "🫨🫩", "🐻‍❄️🐻‍❄", "👁️‍🗨️ 👁‍🗨", "👁‍🗨️‍👁", "\u200d", "\u200d\u200d", "😀\u200d\u200d😀"]


def digest(names):
    return hashlib.sha256("".join(k + "\t" + v + "\n" for k, v in sorted(names.items())).encode()).hexdigest()


def texts():
    r = random.Random(7)
    parts = sorted(k for k in emoji.EMOJI_DATA)
    spice = ["\u200d", "\u200d", "\ufe0f", "\ufe0e", "🏽", "🦰", " ", "a", "👨", "👩", "❤", "🏳", "🇺"]
    out = list(HARD)
    for _ in range(600):
        out.append("".join(r.choice(parts) if r.random() < 0.4 else r.choice(spice) for _ in range(r.randint(1, 9))))
    return out


golden = {}
if os.path.exists(PATH):
    with open(PATH) as f:
        golden = json.load(f)
if sys.argv[1] == "old":
    assert emoji.__version__ == "0.6.0"
    golden["old_sha256"] = digest({k: v[1:-1] for k, v in emoji.UNICODE_EMOJI.items() if len(k) == 1})
else:
    assert emoji.__version__ == "2.8.0"
    golden["new_sha256"] = digest({k: v["en"][1:-1] for k, v in emoji.EMOJI_DATA.items()})
    golden["texts"] = [[t, emoji.demojize(t, delimiters=("|", "|"), language="en")] for t in texts()]
with open(PATH, "w") as f:
    json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
    f.write("\n")
