"""Makes the tokenizers and the golden ids of this folder with the official library: python make.py [AIRLINE.jsonl]

The vocabularies are trained on the sample tweets of this project. With the real tweets named, their ids are hashed too.
"""
import base64
import glob
import hashlib
import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "..")

HARD = [
    "", " ", "   ", "\t\n", "a", "hello world", "Hello World!", "don't can't we'll I'm you've he'd they're", "DON'T", "rock'n'roll's", "''s ''t",
    "sooooo goooood", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x" * 101, "x" * 100, "y" * 300, "no  two   three    blanks",
    " leading", "trailing ", "  both  ", "tab\tseparated\ttext", "line\nbreak\r\nwindows\rold", "nbsp\u00a0here", "em\u2003space", "line\u2028sep\u2029para",
    "ideographic\u3000space", "\u200bzero\u200bwidth", "\ufeffbom", "soft\u00adhyphen", "null\x00byte", "bell\x07 del\x7f", "\ufffdreplacement\ufffd", "c1 \x85 next line",
    "café naïve Ünïcödé", "cafe\u0301 combining", "ÅNGSTRÖM Ångström", "İstanbul ISPARTA ıspanak", "ΣΊΣΥΦΟΣ σίσυφος", "straße STRASSE ẞ", "ﬁne ﬂag ligatures", "Ǆ ǅ ǆ",
    "日本語のテキスト", "中文 字符 mixed 中文text", "한국어 텍스트 훈민정음", "ภาษาไทย ไม่มีช่องว่าง", "हिन्दी में पाठ", "العربية نص", "עברית", "Кириллица ТЕКСТ ёж", "Ελληνικά", "ქართული",
    "😀", "😀😀😀", "great 👍🏽 job", "👨‍👩‍👧‍👦 family", "🏳️‍🌈 flag", "🇺🇸🇯🇵", "❤️ heart", "☺ :) ;-) (╯°□°)╯︵ ┻━┻", "#hashtag @user https://example.com/x?a=1&b=2", "@a@b", "a@b.example",
    "50% off!!! $9.99 €5 £3 ¥100", "1,234.56 0x1F 3.14159 ½ ² Ⅷ ①", "2026-11-21T04:06:04Z", "C++ C# .NET", "a_b_c __init__", "`code` ~tilde~ ^caret^ |pipe|", "“curly” ‘quotes’ … — –", "¿Qué? ¡Sí!", "«guillemets»",
    "[CLS] [SEP] [PAD] [UNK] [MASK]", "text[SEP]text", "[cls] lower", "<s> </s> <pad> <unk> <mask>", "a <mask> b", "a<mask>b", "  <mask>  ", "<S>", "[MASK][MASK]", "x [UNK]y",
    "𝒳 𝕄𝕒𝕥𝕙 𝟙𝟚", "\U00020000\U0002a6d6 rare han", "\uf900 compat \ufa0e", "e\u0301\u0301\u0301 stacked", "\u0301alone", "a\u200d\u200db", "\ue000private", "ｆｕｌｌ　ｗｉｄｔｈ", "＠ｆｕｌｌ",
    "it's  what's   'quoted' '' '", "'s", "'S 'T", "\u2019s typographic", "a'b'c", "x'll'll", "word" * 40, "é" * 101, "日" * 30, "tail'",
]

MORE = [
    "q qq qqq qqqq qqqqq xqqy", "<unk>", "a<unk>b", "x<unk> <unk> y", "▁", "▁▁a▁b", "``quoted''", "ＦＵＬＬ ＜mask＞ ﾊﾟ", "e\u0301\u0301 ﬁ\u0301 ﬃ", "\u0e33 สำ", "\ufefb lam alef", "Thanks  For nothing at all", "THANKS FOR",
    "  nothing  nothing ", "thanx ThanX", "the flight THE FLIGHT The  Flight", "İ i̇ I", "日本人 日 本", "LATE   la Late", "cafe\u0301 café  x   y    z", "@user@user @USER", "a\rb\r\nc\n", "\u200b\u200bhello", "\x01hello", "\x01", "\x01 x", "\u00ad\u00adsoft", "a </s> b</s>c", "</s>", " \u200b x",
]


def corpus():
    lines = []
    for path in sorted(glob.glob(os.path.join(ROOT, "queries", "sentiment", "tweets", "*.jsonl"))):
        with open(path) as f:
            lines += [json.loads(l)["text"] for l in f]
    return lines


def tweets(n):
    r = random.Random(11)
    words = "the flight was late again thanks for nothing love this app so much why is it raining today coffee please don't can't won't I'm naïve café résumé".split()
    spice = ["@someone", "#monday", "https://example.com/a", "😀", "👍🏽", "sooooo", "!!!", "...", "日本", "&amp;", "LOL", "1st", "50%", "👩‍🚀", "ﾊﾟ", "\u00a0", "’", "’s", "<3", ":-)"]
    out = []
    for _ in range(n):
        k = r.randint(3, 24)
        out.append("".join(r.choice(["", " ", " ", " ", "  ", "\n"]) + r.choice(words if r.random() < 0.7 else spice) for _ in range(k)))
    return out


def bert(lines):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=3000, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def cased(lines):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=2000, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t


def roberta(lines, prefix):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    t.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)]
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=3000, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=prefix)
    return t


def charsmap():
    """The small table of characters that the fixtures of models were made with."""
    with open(os.path.join(HERE, "..", "..", "testdata", "architectures", "xlm-roberta", "tokenizer.json")) as f:
        return base64.b64decode(json.load(f)["normalizer"]["precompiled_charsmap"])


def unigram(lines, normalizer, pre_tokenizer):
    """As SentencePiece exports are; q and qq make words with equally likely pieces."""
    t = Tokenizer(models.Unigram())
    t.normalizer, t.pre_tokenizer = normalizer, pre_tokenizer
    t.train_from_iterator(lines, trainers.UnigramTrainer(vocab_size=900, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    vocab = [(p, s) for p, s in json.loads(t.to_str())["model"]["vocab"] if p.strip("q")]
    t.model = models.Unigram([*vocab, ("q", -5.0), ("qq", -10.0), ("qqq", -15.0), ("<mask>", 0.0)], 3, False)
    t.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return t


def xlmr(lines):
    return unigram(lines, normalizers.Precompiled(charsmap()), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]))


def albert(lines):
    steps = [normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    t = unigram(lines, normalizers.Sequence(steps), pre_tokenizers.Metaspace())
    t.add_tokens([AddedToken("Thanks For", normalized=True), AddedToken("nothing", normalized=True, lstrip=True, rstrip=True), AddedToken("ThanX", normalized=False)])
    return t


def t5(lines):
    steps = [normalizers.Precompiled(charsmap()), normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "▁")]
    return unigram(lines, normalizers.Sequence(steps), pre_tokenizers.Metaspace(prepend_scheme="first"))


def bert_added(lines):
    t = bert(lines)
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True)
    t.add_tokens([AddedToken("The Flight", normalized=True), AddedToken("İ", normalized=True), AddedToken("日本", normalized=True), AddedToken("LATE", normalized=False, rstrip=True), AddedToken("la", normalized=True)])
    return t


def modern(lines):
    t = roberta(lines, False)
    t.normalizer = normalizers.NFC()
    t.add_tokens([AddedToken("  ", normalized=True), AddedToken("   ", normalized=True), AddedToken("cafe\u0301", normalized=True), AddedToken("@user", normalized=False)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return t


def main():
    lines = corpus()
    real = [json.loads(l)["text"] for l in open(sys.argv[1])] if len(sys.argv) > 1 else []
    texts = HARD + tweets(500)
    large = {"bert": bert(lines), "bert-cased": cased(lines), "roberta": roberta(lines, False), "roberta-prefix": roberta(lines, True)}
    small = {"xlm-roberta": xlmr(lines), "albert": albert(lines), "t5": t5(lines), "bert-added": bert_added(lines), "modern": modern(lines)}
    for name, t in {**large, **small}.items():
        t.save(os.path.join(HERE, name + ".json"), pretty=False)
        golden = {"texts": [{"text": x, "ids": t.encode(x).ids} for x in (texts if name in large else MORE + texts[: len(HARD) + 60])]}
        if real:
            h = hashlib.sha256()
            for x in real:
                h.update((",".join(map(str, t.encode(x).ids)) + "\n").encode())
            golden["airline_sha256"] = h.hexdigest()
        with open(os.path.join(HERE, name + ".golden.json"), "w") as f:
            json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    main()
