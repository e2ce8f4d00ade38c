"""Makes the small models of this folder, and what the official libraries say of them: python make.py [NAME...]

Weights are random and vocabularies are trained on the text below: nothing is fetched. Each folder is laid out as exports of
its kind are, and golden.json holds ids, logits, probabilities and labels of transformers, or embeddings of
sentence-transformers, for texts.json.
"""
import io
import json
import os
import re
import shutil
import sys
import tempfile
import unicodedata
import warnings

import onnx
import sentencepiece
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer, BertConfig, BertweetTokenizer, BertForSequenceClassification, BertModel, BertTokenizer, DistilBertConfig, DistilBertForSequenceClassification,
    DistilBertTokenizer, MPNetConfig, MPNetModel, MPNetTokenizer, RobertaConfig, RobertaForSequenceClassification, RobertaTokenizer,
    XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaTokenizer, pipeline,
)

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
ONLY = sys.argv[1:]
SMALL = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, initializer_range=0.6)
TOPICS = ("arts_&_culture business_&_entrepreneurs celebrity_&_pop_culture diaries_&_daily_life family fashion_&_style film_tv_&_video "
          "fitness_&_health food_&_dining gaming learning_&_educational music news_&_social_concern other_hobbies relationships "
          "science_&_technology sports travel_&_adventure youth_&_student_life").split()

CORPUS = """The morning train was late again and nobody at the station could say why. I love the new coffee place near the park!
Our team won the match, what a game! My phone broke after two days; never buying that again. Does anybody know a good dentist?
It is raining cats and dogs, don't forget your umbrella. She said they'd come but they didn't. We're going, you'll see, I'm sure he's there.
The concert was amazing, the sound not so much. 1st place, 2nd place, 100% happy, 50 euros, 2026 was a year. LOL this is sooooo funny!!!
Le café était très bon et le garçon naïf. El niño comió piñas mañana. Straße und Größe über alles schön. Ça va où déjà, l'été à Noël.
今日はとても良い天気ですね。東京は大きいです。中文字符也在这里。ไม่มีช่องว่างในภาษาไทย สวัสดีครับ. Это был очень хороший день в Москве.
هذا نص عربي قصير جدا. यह हिन्दी में एक वाक्य है। 한국어 문장도 하나 있습니다. Καλημέρα κόσμε. great job 👍🏽 😀 ❤️ so happy 🎉
@user thanks for the link http it works #monday #mood {{URL}} {{USERNAME}} check this out, see you at 10:30, price 3.50 or 00 0 000.
""".splitlines()

TEXTS = [
    "", " ", "\t\n", "a", "hello world", "Hello World!", "The coffee was great, but the train was late again.", "don't can't we'll I'm you've he'd they're",
    "sooooo goooood!!!", "no  two   three    blanks", " leading", "trailing ", "line\nbreak\r\nwindows\rold", "nbsp\u00a0here\u2003em\u2028line\u3000wide",
    "\u200bzero\u200bwidth \ufeffbom soft\u00adhyphen", "null\x00byte bell\x07 del\x7f \x1b[31m", "\ufffdreplacement\ufffd", "café naïve Ünïcödé", "cafe\u0301 combining e\u0301\u0301",
    "İstanbul ISPARTA ΣΊΣΥΦΟΣ Straße ẞ", "ﬁne ﬂag ｆｕｌｌ　ｗｉｄｔｈ ﾊﾟﾋﾟ", "日本語のテキスト", "中文 字符 mixed 中文text", "한국어 문장", "ภาษาไทย ไม่มีช่องว่าง", "हिन्दी में पाठ", "هذا نص عربي", "Кириллица ТЕКСТ ёж",
    "😀", "great 👍🏽 job", "👨‍👩‍👧‍👦 family 🏳️‍🌈 🇺🇸🇯🇵", "❤️ heart ☺ :) ¯\\_(ツ)_/¯", "#hashtag @user https://example.com/x?a=1&b=2", "@someone said: look at http://t.co/abc @a@b a@b.example @",
    "www.example.com and HTTP://UPPER.example", "50% off!!! $9.99 €5 £3 ½ ² Ⅷ ①", "0 00 000 0000 1,234.56", "“curly” ‘quotes’ … — –", "[CLS] [SEP] [PAD] [UNK] [MASK]", "<s> </s> <pad> <unk> <mask>",
    "a <mask> b", "a<mask>b  <mask>  c", "[MASK][MASK] <MASK>", "▁ under ▁▁bars▁", "x" * 101, "𝒳 𝕄𝕒𝕥𝕙 𝟙𝟚 \U00020000", "a\u200d\u200db \ue000private", "zzzz qqqq ჯჯჯ ꙮ", "it's  what's   'quoted' '' '",
    "one more sentence to reach the end. " * 60, "word" * 400, "é" * 700, "日" * 600, "😀" * 300,
]


def write(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        json.dump(value, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


def wordpiece(specials, lowercase=True):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=700, special_tokens=specials, show_progress=False))
    return t.get_vocab()


def byte_pairs():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    m = json.loads(t.to_str())["model"]
    return m["vocab"], [tuple(x) for x in m["merges"]]


def charsmap_rules():
    """A small part of what SentencePiece's nmt_nfkc writes for characters: enough for every path of the lookup."""
    rules = {}
    ranges = [(0xA0, 0x180), (0x2000, 0x2050), (0x2100, 0x2150), (0x2460, 0x2474), (0x3000, 0x3001), (0xE33, 0xE34), (0xFB00, 0xFB07), (0xFEF5, 0xFEFD),
              (0xFF01, 0xFFA0), (0x1D400, 0x1D420), (0x1D7D8, 0x1D7E2)]
    for lo, hi in ranges:
        for c in range(lo, hi):
            to = unicodedata.normalize("NFKC", chr(c))
            if to != chr(c):
                rules[chr(c)] = to
    for base in "AEIOUNCaeiounc":
        for mark in "\u0300\u0301\u0302\u0303\u0308\u0327":
            to = unicodedata.normalize("NFKC", base + mark)
            if len(to) == 1:
                rules[base + mark] = to
    for kana in "ﾊﾋﾌﾍﾎ":
        for mark in "ﾞﾟ":
            rules[kana + mark] = unicodedata.normalize("NFKC", kana + mark)
    for c in "\t\n\r\u00a0\u2003\u2028\u3000\u200b\ufeff":
        rules[c] = " "
    for c in [*range(1, 9), 0xB, *range(0xE, 0x20), 0x7F, 0xAD]:
        rules[chr(c)] = ""
    return rules


def unigram():
    """Returns the pieces with their scores, as XLM-R orders them, and the charsmap, by SentencePiece itself."""
    rules = os.path.join(HERE, "rules.tsv")
    with open(rules, "w") as f:
        for source, to in charsmap_rules().items():
            f.write(" ".join("%X" % ord(c) for c in source) + "\t" + " ".join("%X" % ord(c) for c in to) + "\n")
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=out, vocab_size=600, model_type="unigram", hard_vocab_limit=False,
                                             normalization_rule_tsv=rules, minloglevel=2, num_threads=1)
    os.remove(rules)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(out.getvalue())
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [(p.piece, p.score) for p in list(proto.pieces)[3:]]
    return pieces + [("<mask>", 0.0)], proto.normalizer_spec.precompiled_charsmap


def bertweet(normalization):
    """Returns BERTweet's tokenizer, whose files are of the text above in its normalized form, and what writes these files: transformers 5 writes
    bpe.codes without counts, and then reads no merges from it."""
    with tempfile.TemporaryDirectory() as folder:
        vocab, codes = os.path.join(folder, "vocab.txt"), os.path.join(folder, "bpe.codes")

        def save(pieces, merges):
            with open(vocab, "w") as v, open(codes, "w") as c:
                v.write("".join(f"{p} 1\n" for p in pieces))
                c.write("".join(f"{a} {b} 1\n" for a, b in merges))
            return BertweetTokenizer(vocab, codes, normalization=normalization)

        t = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
        t.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
        lines = [save(["a"], []).normalizeTweet(x) for x in CORPUS + ["I am emoji grinning face emoji , hashtag monday :grinning_face: :red_heart:"]]
        t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=900, end_of_word_suffix="</w>", show_progress=False))
        m = json.loads(t.to_str())["model"]
        official = save([p[:-4] if p.endswith("</w>") else p + "@@" for p in sorted(m["vocab"], key=m["vocab"].get)], m["merges"])
        official.model_max_length = 128
        content = {name: open(os.path.join(folder, name)).read() for name in ("vocab.txt", "bpe.codes")}

    def keep(to, _):
        for name, text in content.items():
            with open(os.path.join(to, name), "w") as f:
                f.write(text)

    return official, keep


def export(model, folder, output, token_types, name="model.onnx"):
    os.makedirs(folder, exist_ok=True)
    model.eval()
    ids = torch.randint(5, 50, (2, 7))
    mask = torch.ones_like(ids)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if token_types:
        inputs["token_type_ids"] = torch.zeros_like(ids)
    axes = {n: {0: "batch", 1: "sequence"} for n in inputs}
    axes[output] = {0: "batch", 1: "sequence"} if output == "last_hidden_state" else {0: "batch"}
    path = os.path.join(folder, name)

    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *values):
            return self.model(**dict(zip(inputs, values)))[0]

    torch.onnx.export(Named().eval(), tuple(inputs.values()), path, input_names=list(inputs), output_names=[output], dynamic_axes=axes, dynamo=False, opset_version=17)
    graph = onnx.load(path)
    for node in graph.graph.node:
        node.doc_string = ""
    onnx.save(graph, path)


def cardiff(text):
    """The preprocessing that the cards of cardiffnlp's sentiment models print."""
    return " ".join("@user" if t.startswith("@") and len(t) > 1 else "http" if t.startswith("http") else t for t in text.split(" "))


def topic(text):
    """What the data set of tweet-topic was written with: links and names that are not of verified accounts."""
    return re.sub(r"@[A-Za-z0-9_]+", "{{USERNAME}}", re.sub(r"(?i)(?:https?://|www\.)\S+", "{{URL}}", text))


def encode(tokenizer, texts, limit):
    return [tokenizer(t, truncation=True, max_length=limit)["input_ids"] for t in texts]


def classifier(name, tokenizer, model, limit, token_types=False, prepare=None, sub="", keep=None):
    """Writes a classifier and what the text-classification pipeline says of the texts."""
    if ONLY and name not in ONLY:
        return
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "model.safetensors"))
    export(model, os.path.join(folder, sub), "logits", token_types)
    official = AutoTokenizer.from_pretrained(folder)
    if keep:
        keep(folder, official)
        official = AutoTokenizer.from_pretrained(folder)
    pipe = pipeline("text-classification", model=model, tokenizer=official, top_k=None, device="cpu")
    golden = []
    for text in TEXTS:
        text = prepare(text) if prepare else text
        ids = official(text, truncation=True, max_length=limit)["input_ids"]
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        with torch.no_grad():
            logits = model(**inputs).logits[0].tolist()
        scores = pipe(text, truncation=True, max_length=limit)
        scores = scores[0] if isinstance(scores[0], list) else scores
        golden.append({"ids": ids, "logits": [round(x, 6) for x in logits], "label": scores[0]["label"],
                       "scores": {s["label"]: round(s["score"], 7) for s in scores}})
        if prepare:
            golden[-1]["prepared"] = text
    write(os.path.join(folder, "golden.json"), {"max_tokens": limit, "texts": golden})


def encoder(name, tokenizer, model, limit, pooling, token_types=False, normalize=True, keep=None, legacy=False):
    """Writes a sentence encoder and what sentence-transformers says of the texts."""
    if ONLY and name not in ONLY:
        return
    folder, base = os.path.join(HERE, name), os.path.join(HERE, name + ".base")
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(base)
    model.save_pretrained(base)
    parts = [Transformer(base, max_seq_length=limit), Pooling(model.config.hidden_size, pooling)]
    st = SentenceTransformer(modules=parts + ([Normalize()] if normalize else []), device="cpu")
    st.save(folder, create_model_card=False)
    shutil.rmtree(base)
    os.remove(os.path.join(folder, "model.safetensors"))
    if legacy:  # as the libraries before version 6 wrote it, and so as what is on the hub
        write(os.path.join(folder, "1_Pooling", "config.json"), {"word_embedding_dimension": model.config.hidden_size, "pooling_mode_cls_token": pooling == "cls",
              "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": pooling == "max", "pooling_mode_mean_sqrt_len_tokens": False})
        write(os.path.join(folder, "sentence_bert_config.json"), {"max_seq_length": limit, "do_lower_case": False})
    export(model, os.path.join(folder, "onnx"), "last_hidden_state", token_types)
    official = AutoTokenizer.from_pretrained(folder)
    if keep:
        keep(folder, official)
        official = AutoTokenizer.from_pretrained(folder)
    vectors = st.encode(TEXTS, batch_size=1, normalize_embeddings=False)
    golden = [{"ids": ids, "embedding": [round(float(x), 6) for x in v]} for ids, v in zip(encode(official, TEXTS, limit), vectors)]
    write(os.path.join(folder, "golden.json"), {"max_tokens": limit, "texts": golden})


def only_vocab_txt(folder, official):
    os.remove(os.path.join(folder, "tokenizer.json"))
    vocab = official.get_vocab()
    with open(os.path.join(folder, "vocab.txt"), "w") as f:
        f.write("".join(t + "\n" for t in sorted(vocab, key=vocab.get)))


def only_merges(folder, official):
    m = json.loads(official.backend_tokenizer.to_str())["model"]
    os.remove(os.path.join(folder, "tokenizer.json"))
    write(os.path.join(folder, "vocab.json"), m["vocab"])
    with open(os.path.join(folder, "merges.txt"), "w") as f:
        f.write("#version: 0.2\n" + "".join(" ".join(x) + "\n" for x in m["merges"]))


def build(cls, config):
    torch.manual_seed(7)
    return cls._from_config(config, attn_implementation="eager")


def labels(names):
    return dict(num_labels=len(names), id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})


def main():
    write(os.path.join(HERE, "texts.json"), TEXTS)
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab, cased = wordpiece(bert), wordpiece(bert, lowercase=False)
    sentiment = labels(["negative", "neutral", "positive"])
    classifier("bert", BertTokenizer(vocab=cased, do_lower_case=False), build(BertForSequenceClassification, BertConfig(
        vocab_size=len(cased), max_position_embeddings=64, **SMALL, **labels(["NEG", "POS"]))), 64, token_types=True, keep=only_vocab_txt)
    classifier("distilbert", DistilBertTokenizer(vocab=vocab), build(DistilBertForSequenceClassification, DistilBertConfig(
        vocab_size=len(vocab), dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=128, initializer_range=0.6, **labels(["NEGATIVE", "POSITIVE"]))), 128, sub="onnx")
    encoder("minilm", BertTokenizer(vocab=vocab), build(BertModel, BertConfig(vocab_size=len(vocab), max_position_embeddings=512, **SMALL)), 256, "mean", token_types=True, legacy=True)
    mpnet = wordpiece(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"])
    config = MPNetConfig(vocab_size=len(mpnet), max_position_embeddings=514, **SMALL)
    encoder("mpnet", MPNetTokenizer(vocab=mpnet), build(MPNetModel, config), 384, "cls", normalize=False)
    encoder("mpnet-vocab", MPNetTokenizer(vocab=mpnet), build(MPNetModel, config), 96, "max", keep=only_vocab_txt, legacy=True)
    vocab, merges = byte_pairs()
    roberta = dict(vocab_size=len(vocab), max_position_embeddings=514, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2, **SMALL)
    classifier("roberta-sentiment", RobertaTokenizer(vocab=vocab, merges=merges), build(RobertaForSequenceClassification, RobertaConfig(**roberta, **sentiment)), 512,
               prepare=cardiff, keep=only_merges)
    classifier("tweet-topic", RobertaTokenizer(vocab=vocab, merges=merges), build(RobertaForSequenceClassification, RobertaConfig(
        **roberta, **labels(TOPICS), problem_type="multi_label_classification")), 512, prepare=topic)
    with open(os.path.join(HERE, "..", "pysentimiento.json")) as f:
        pysentimiento = dict(json.load(f)["texts"])
    for name, normalization, prepare in [("bertweet", True, None), ("bertweet-sentiment", False, lambda text: pysentimiento[text])]:
        tokenizer, keep = bertweet(normalization)
        config = RobertaConfig(**{**roberta, "vocab_size": len(tokenizer), "max_position_embeddings": 130}, **labels(["NEG", "NEU", "POS"]), tokenizer_class="BertweetTokenizer")
        classifier(name, tokenizer, build(RobertaForSequenceClassification, config), 128, prepare=prepare, keep=keep)
    pieces, charsmap = unigram()
    xlmr = XLMRobertaTokenizer(vocab=pieces, _spm_precompiled_charsmap=charsmap)
    classifier("xlm-roberta", xlmr, build(XLMRobertaForSequenceClassification, XLMRobertaConfig(**{**roberta, "vocab_size": len(pieces)}, **labels(["Negative", "Neutral", "Positive"]))), 512)


main()
