"""Teaches the encoder's vectors what they are for, by gradient: a tweet's halves shall be alike, and of its words those that say
what it is about shall be most like the whole. Afterwards it is still one vector a piece and a sum.

What a keyword is, nobody has labelled. Two things stand in: how rare a word is, as TF-IDF has it, and the hashtag where a
tweet has one, which is a keyword that its writer chose.
"""
import numpy as np
import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import nn

SEED = 7
BATCH = 256
EPOCHS = 1.5
LEAST = 8  # pieces; a shorter text has no halves
SHARP_HALVES, SHARP_WORDS = 15.0, 12.0  # what cosines are multiplied by before a softmax
KEYWORDS = 4.0  # the weight of keywords against halves
HASHTAG = 0.5  # of the target of a tweet that has one, the rest is for rarity
RARITY = 0.6  # what the logarithm of rarity is multiplied by before a softmax
HIDE = 0.1  # of the pieces of the halves, so that no single word decides
HALF = (0.35, 0.65)  # where a text is cut


class Words:
    """The words of texts that are given as pieces: which there are, how rare each is, which may be keywords."""

    def __init__(self, rows, vocab):
        self.names = [None] * len(vocab)
        for word, i in vocab.items():
            self.names[i] = word
        self.inside = np.array([w.startswith("##") for w in self.names])
        self.hash = vocab["#"]
        self.ids, self.may = {}, []
        self.texts = [self.split(np.array(r[:64], np.int64)) for r in rows if len(r) >= LEAST]
        self.may = np.array(self.may)
        seen = np.bincount(np.concatenate([np.unique(words) for _, _, words, _ in self.texts]), minlength=len(self.ids))
        self.rarity = np.log((1 + len(self.texts)) / np.maximum(seen - 0.5, 0.5))

    def split(self, pieces):
        """Pieces, where words begin, the words, and the one hashtag or -1."""
        starts = [i for i, p in enumerate(pieces) if i == 0 or not self.inside[p]]
        ends = starts[1:] + [len(pieces)]
        words, tags = [], []
        for k, (a, b) in enumerate(zip(starts, ends)):
            spelt = tuple(pieces[a:b])
            word = self.ids.setdefault(spelt, len(self.ids))
            if word == len(self.may):
                first = self.names[spelt[0]]
                whole = len(spelt) > 1 or len(first) > 1 and first not in ENGLISH_STOP_WORDS and first not in ("user", "url")
                self.may.append(first.isalnum() and whole)
            words.append(word)
            if k and pieces[starts[k - 1]] == self.hash and a - starts[k - 1] == 1:
                tags.append(word)
        return pieces, np.array(starts + [len(pieces)]), np.array(words), tags[0] if len(tags) == 1 and self.may[tags[0]] else -1


def total(x, to, n):
    """Sums the rows of x that go to the same one of n places, and makes the sums as long as 1."""
    out = torch.zeros(n, x.shape[1]).index_add(0, torch.from_numpy(to), x)
    return out / (out.norm(dim=1, keepdim=True) + 1e-6)


def halves(x, text, lengths, rng):
    """How surely the right other half is found among those of the batch."""
    n = len(lengths)
    place = np.arange(len(text)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    second = place >= np.repeat((lengths * rng.uniform(*HALF, n)).astype(int), lengths)
    kept = np.flatnonzero(rng.random(len(text)) > HIDE)
    both = total(x[kept], (text + second * n)[kept], 2 * n)
    alike, right = both[:n] @ both[n:].T * SHARP_HALVES, torch.arange(n)
    return (nn.functional.cross_entropy(alike, right) + nn.functional.cross_entropy(alike.T, right)) / 2


def keywords(x, batch, text, pieces, w):
    """How near the likeness of words to their text is to what is wanted of it."""
    n = len(batch)
    plain = np.flatnonzero(pieces != w.hash)
    doc = total(x[plain], text[plain], n)
    counts = np.array([len(words) for _, _, words, _ in batch])
    before = np.cumsum(counts) - counts
    to = np.concatenate([np.repeat(np.arange(len(words)) + b, np.diff(starts)) for (_, starts, words, _), b in zip(batch, before)])
    owner, place = np.repeat(np.arange(n), counts), np.arange(counts.sum()) - np.repeat(before, counts)
    words = np.concatenate([b[2] for b in batch])
    may = np.flatnonzero(w.may[words])
    cosine = (total(x, to, counts.sum()) * doc[torch.from_numpy(owner)]).sum(1)
    at = owner[may], place[may]
    said = torch.full((n, counts.max()), -1e4).index_put(tuple(map(torch.from_numpy, at)), cosine[may] * SHARP_WORDS)
    wanted = np.full(said.shape, -1e4)
    wanted[at] = w.rarity[words[may]] * RARITY
    wanted = np.exp(wanted - wanted.max(1, keepdims=True))
    wanted /= wanted.sum(1, keepdims=True)
    for i, (_, _, words, tag) in enumerate(batch):
        if tag >= 0:
            chosen = np.zeros(said.shape[1])
            chosen[: len(words)] = words == tag
            wanted[i] = (1 - HASHTAG) * wanted[i] + HASHTAG * chosen / chosen.sum()
    several = torch.from_numpy(np.bincount(owner[may], minlength=n) > 1)
    return -(torch.tensor(wanted, dtype=torch.float32) * torch.log_softmax(said, 1)).sum(1)[several].mean()


def refine(e, rows, vocab):
    """Returns better vectors than e, one a piece; rows are the texts to learn from."""
    w = Words(rows, vocab)
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    start = torch.tensor(e / np.percentile(np.linalg.norm(e, axis=1), 90), dtype=torch.float32)
    start[2:] += torch.randn(start.shape[0] - 2, start.shape[1]) * 0.02
    table = nn.Parameter(start)
    opt = torch.optim.Adam([table], lr=3e-3, betas=(0.9, 0.99))
    steps = int(EPOCHS * len(w.texts) / BATCH)
    plan = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.03, steps)
    order = np.concatenate([rng.permutation(len(w.texts)) for _ in range(int(np.ceil(EPOCHS)) + 1)])
    for step in range(steps):
        batch = [w.texts[i] for i in order[step * BATCH : (step + 1) * BATCH]]
        pieces, lengths = np.concatenate([b[0] for b in batch]), np.array([len(b[0]) for b in batch])
        text = np.repeat(np.arange(len(batch)), lengths)
        x = table[torch.from_numpy(pieces)]
        alike, found = halves(x, text, lengths, rng), keywords(x, batch, text, pieces, w)
        opt.zero_grad()
        (alike + KEYWORDS * found).backward()
        opt.step()
        plan.step()
        if step % 100 == 99:
            print(f"step {step + 1} of {steps}: halves {alike.item():.3f}, keywords {found.item():.3f}", flush=True)
    out = table.detach().numpy().astype(np.float64)
    out[:2] = 0
    return out
