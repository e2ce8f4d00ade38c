"""Python's side of the benchmarks of models: python models.py COMMAND DIR TEXTS.json ROUNDS, which prints the median of the seconds.

make writes a classifier and an encoder of MiniLM's shape with random weights into DIR, as exports and for torch. Imports and
loading are not counted. 9 is the exit status when a package is missing.
"""
import json
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ["HF_HUB_OFFLINE"] = "1"
HERE = os.path.dirname(os.path.abspath(__file__))
try:
    import numpy as np
    import onnxruntime
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
except ImportError as e:
    print(e, file=sys.stderr)
    sys.exit(9)

CORES = len(os.sched_getaffinity(0))
LIMIT = 128


def make(folder):
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    vocabulary = os.path.join(HERE, "..", "..", "models", "tokenizer", "testdata", "bert.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=vocabulary, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", model_max_length=LIMIT)
    config = BertConfig(vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, max_position_embeddings=512,
                        num_labels=3, id2label={0: "negative", 1: "neutral", 2: "positive"}, label2id={"negative": 0, "neutral": 1, "positive": 2})
    for name, kind, output in [("classifier", BertForSequenceClassification, "logits"), ("encoder", BertModel, "last_hidden_state")]:
        torch.manual_seed(7)
        model = kind(config).eval()
        to = os.path.join(folder, name)
        tokenizer.save_pretrained(to)
        model.save_pretrained(to)
        if name == "encoder":
            SentenceTransformer(modules=[Transformer(to, max_seq_length=LIMIT), Pooling(384, "mean")], device="cpu").save(to, create_model_card=False)
        ids = torch.randint(5, 50, (2, 7))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        axes = {n: {0: "batch", 1: "sequence"} for n in inputs}
        axes[output] = {0: "batch", 1: "sequence"} if output != "logits" else {0: "batch"}

        class Named(torch.nn.Module):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def forward(self, *values):
                return self.model(**dict(zip(inputs, values)))[0]

        torch.onnx.export(Named(model).eval(), tuple(inputs.values()), os.path.join(to, "model.onnx"), input_names=list(inputs), output_names=[output], dynamic_axes=axes, dynamo=False, opset_version=17)


def runtime(folder):
    """onnxruntime and tokenizers, as one who knows both would write it: sorted by length, all cores, the better of two sizes of batches."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(os.path.join(folder, "classifier", "model.onnx"), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(os.path.join(folder, "classifier", "tokenizer.json"))
    tokenizer.enable_truncation(LIMIT)
    tokenizer.no_padding()

    def run(texts, size):
        rows = sorted((e.ids for e in tokenizer.encode_batch(texts)), key=len)
        for at in range(0, len(rows), size):
            part = rows[at:at + size]
            ids = np.zeros((len(part), len(part[-1])), np.int64)
            mask = np.zeros_like(ids)
            for i, row in enumerate(part):
                ids[i, :len(row)], mask[i, :len(row)] = row, 1
            session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})

    return lambda texts: min(timed(lambda: run(texts, 8)), timed(lambda: run(texts, 32)))


def pipe(folder):
    torch.set_num_threads(CORES)
    p = transformers.pipeline("text-classification", os.path.join(folder, "classifier"), device="cpu", batch_size=8)
    return lambda texts: timed(lambda: p(texts, truncation=True))


def rust(folder):
    tokenizer = Tokenizer.from_file(os.path.join(folder, "classifier", "tokenizer.json"))
    tokenizer.enable_truncation(LIMIT)
    tokenizer.no_padding()
    return lambda texts: timed(lambda: tokenizer.encode_batch(texts))


def keybert(folder):
    try:
        from keybert import KeyBERT
    except ImportError as e:
        print(e, file=sys.stderr)
        sys.exit(9)
    torch.set_num_threads(CORES)
    k = KeyBERT(SentenceTransformer(os.path.join(folder, "encoder"), device="cpu"))
    return lambda texts: timed(lambda: k.extract_keywords(texts))


def timed(f):
    began = time.perf_counter()
    f()
    return time.perf_counter() - began


def main():
    command, folder = sys.argv[1], sys.argv[2]
    if command == "make":
        return make(folder)
    with open(sys.argv[3]) as f:
        texts = json.load(f)
    run = {"onnxruntime": runtime, "pipeline": pipe, "tokenizers": rust, "keybert": keybert}[command](folder)
    run(texts[:16])
    times = sorted(run(texts) for _ in range(int(sys.argv[4])))
    print(times[len(times) // 2])


main()
