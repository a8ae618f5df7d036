#!/usr/bin/env python3
"""Writes fixture.json: small byte-level BPE vocabularies with the pre-tokenizers of Qwen2 and ModernBERT, and the
ids that the tokenizers library gives with them.

    pip install tokenizers==0.23.3
    python write.py ../../../shared fixture.json

The vocabularies are trained on the texts of golden-minilm and golden-wide in the directory given. Their tokens are in
the order: special tokens, added tokens, the 256 bytes, merges. Of the texts of golden-minilm and golden-wide only a
digest of the numbers of ids and the ids is kept, since those texts are not part of the repository.
"""

import json
import random
import sys
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
MERGES = 2000
# Texts that share a digest.
GROUP = 8


def golden(shared):
    texts = []
    for name in ["golden-minilm/tokens.jsonl", "golden-wide/embeddings.jsonl"]:
        lines = (shared / name).read_text("utf-8").split("\n")
        texts += [json.loads(line)["text"] for line in lines if line]
    return texts


def of_kind(kind, texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    pattern = QWEN2 if kind == "qwen2" else GPT2
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    if kind == "qwen2":
        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        added = [AddedToken(text, normalized=False) for text in ["<tool_call>", "</tool_call>", "<think>"]]
    else:
        special = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", AddedToken("[MASK]", lstrip=True, special=True)]
        added = [AddedToken(" " * count, normalized=True) for count in range(24, 1, -1)]
        added.append(AddedToken("|||IP_ADDRESS|||", normalized=True))
    trainer = trainers.BpeTrainer(
        vocab_size=256 + MERGES,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(merge) for merge in model["merges"]]
    names = [getattr(token, "content", token) for token in special]
    tokens = names + [token.content for token in added] + sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens += [merge.replace(" ", "") for merge in merges]
    tokenizer.model = models.BPE(
        vocab={token: id for id, token in enumerate(tokens)}, merges=[tuple(merge.split(" ")) for merge in merges]
    )
    tokenizer.add_special_tokens([token if isinstance(token, AddedToken) else AddedToken(token, normalized=False) for token in special])
    tokenizer.add_tokens(added)
    return tokenizer, {"special": names, "added": [token.content for token in added], "merges": merges}


def made(kinds):
    """Texts that the rules are about."""
    words = ["a", "the", "I'll", "don't", "DON'T", "it'S", "we'Ve", "'sa", "''s", "x'LLy", "'ſ", "'ſa", "l'd'd", "’s", "naïve", "nai\u0308ve",
             "Ａ", "日本語", "中文字", "한국어", "각", "가나다", "हिन्दी", "தமிழ்", "ไทย", "עברית", "مرحبا", "Ελληνικά", "Ω", "Ω", "Å", "é", "e\u0301", "\u0301",
             "a\u0323\u0307", "a\u0307\u0323", "q\u0307\u0323", "1", "12", "123456", "3.14", "１２", "½", "Ⅷ", "٣", "²", "१२", "❤️", "👩‍👩‍👧‍👦", "🇩🇪", "🙂🙂", "…", "—", "...", "?!",
             "$5", "#x", "_a_", "__init__", "a-b", "foo(bar);", "<html>", "\\n", "C++", "a\u00adb", "\u200b", "\ufeff", "\u0000", "\u0001x", "\u007f", "\ufffd",
             "\U00010400\U00010428", "\U0001d400", "\U000e0041", "ß", "ﬁ", "ǆ", "\u0958", "\u2126", "\u212b", "\uf900", "\u1e9b\u0323", "Ġ", "ĊĠ", "▁x",
             "<|endoftext|>", "<|im_end|>", "<tool_call>", "<|endoftext|", "[MASK]", "[mask]", "[CLS]", "[SEP][SEP]", "|||IP_ADDRESS|||", "||"]
    spaces = ["", " ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", " \n \n ", "\t ", " \t", "\u00a0", "\u2003", "\u3000", "\u0085", "\u2028", "\v", "\f", " " * 5, " " * 24, " " * 25, " " * 49, "\u200b"]
    texts = [""] + words + spaces[1:] + [word + space for word in words[:30] for space in spaces[1:12]]
    texts += [space + word for word in words[:30] for space in spaces[1:12]]
    rng = random.Random(7)
    for _ in range(500):
        parts = [rng.choice(words) + rng.choice(spaces if rng.random() < 0.6 else [" "]) for _ in range(rng.randint(2, 9))]
        texts.append("".join(parts))
    for _ in range(150):
        texts.append("".join(chr(rng.choice([rng.randint(32, 126), rng.randint(0, 0x2fff), rng.randint(0x3000, 0xd7ff), rng.randint(0x10000, 0x1ffff)])) for _ in range(rng.randint(1, 12))))
    for text in list(texts[-120:]):
        texts.append(unicodedata.normalize("NFD", text))
    return list(dict.fromkeys(texts))


def digest(ids):
    """The upper half of FNV-1a over u32 in little-endian order."""
    value = 0xCBF29CE484222325
    for byte in b"".join(id.to_bytes(4, "little") for id in ids):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value >> 32


def main():
    shared, out = Path(sys.argv[1]), Path(sys.argv[2])
    texts = golden(shared)
    forms = texts + [unicodedata.normalize("NFD", text) for text in texts]
    fixture = {"texts": made(["qwen2", "modern-bert"]), "kinds": {}}
    for kind in ["qwen2", "modern-bert"]:
        tokenizer, vocabulary = of_kind(kind, texts)
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        vocabulary["ids"] = [" ".join(map(str, encode(text))) for text in fixture["texts"]]
        groups = [forms[first : first + GROUP] for first in range(0, len(forms), GROUP)]
        vocabulary["golden"] = [digest([id for text in group for id in [len(encode(text)), *encode(text)]]) for group in groups]
        fixture["kinds"][kind] = vocabulary
    out.write_text(json.dumps(fixture, ensure_ascii=False, separators=(",", ":")).replace('","', '",\n"'), "utf-8")


main()
