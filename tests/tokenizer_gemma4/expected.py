"""Writes expected.json: a small vocabulary with the rules of EmbeddingGemma 2's tokenizer, and the tokens that the
tokenizers library gives texts with it.

    python -m venv target/gemma4 && target/gemma4/bin/pip install tokenizers==0.23.1
    target/gemma4/bin/python tests/tokenizer_gemma4/expected.py > tests/tokenizer_gemma4/expected.json
"""

import json
import random

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

CORPUS = [
    "the quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun",
    "Ein Text auf Deutsch: Straßen, Häuser und Gärten, mit Umlauten überall im Satz",
    "日本語の文章もここにあります。日本語と中国語の文字を含みます。",
    "    indented    code:\n\n    return x + y\n\n\n    # done\n",
    "<b>bold</b> and <i>italic</i>\n\n\n\nwords words words  two  spaces   three",
] * 3
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
# Matched literally before anything merges, as in the published file.
ADDED = ["<b>", "</b>", "\n", "\n\n", "\n\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "<unused7>"]


def trained():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    # Trained on pieces of text, so that merges go across spaces here and there.
    tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(length=7)
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return json.loads(tokenizer.to_str())


def build():
    model = trained()["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [tuple(merge) for merge in model["merges"]]
    # What is added is made by merges as well, first of all.
    for token in reversed(ADDED):
        if token not in tokens:
            tokens.append(token)
        if len(token) > 1 and len(set(token)) == 1:
            pair = (token[0], token[1:])
            if pair not in merges:
                merges.insert(0, pair)
    for single in ["\n", "\u2581"]:
        if single not in tokens:
            tokens.append(single)
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    merges.sort(key=lambda merge: (len(set("".join(merge))) > 1, len("".join(merge)) if len(set("".join(merge))) == 1 else 0))
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ADDED])
    assert all(tokenizer.token_to_id(token) == index for token, index in vocabulary.items())
    return tokenizer, tokens, merges


def texts():
    generator = random.Random(1)
    parts = [word for text in CORPUS for word in text.split(" ")] + ADDED + SPECIAL
    parts += [" ", "  ", "   ", "    ", "\n", "\n\n\n\n\n", "\t", "\u2581", "é", "e\u0301", "😀", "🏳️‍🌈", "\0", "ß", "한국어"]
    yield ""
    yield from CORPUS[:5]
    for _ in range(300):
        separator = generator.choice(["", " ", "  "])
        yield separator.join(generator.choice(parts) for _ in range(generator.randrange(1, 12)))


def main():
    tokenizer, tokens, merges = build()
    kinds = [3 if token in SPECIAL else 4 if token in ADDED else 6 if token.startswith("<0x") else 1 for token in tokens]
    cases = [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in texts()]
    merges = [" ".join(merge) for merge in merges]
    print(json.dumps({"tokens": tokens, "types": kinds, "merges": merges, "cases": cases}, ensure_ascii=False))


main()
