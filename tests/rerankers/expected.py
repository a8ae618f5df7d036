"""Writes expected.json: scores that transformers gives for pairs of texts with tiny rerankers.

    python -m venv target/rerankers && target/rerankers/bin/pip install torch==2.15.0 transformers==5.23.0
    target/rerankers/bin/python tests/rerankers/expected.py DIRECTORY > tests/rerankers/expected.json

DIRECTORY is what `cargo test --test models_reranker` leaves in target/tmp: the directories of the models,
`models_reranker-bert` and `models_reranker-xlmr`, whose weights the test makes of their names.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from tokenizers import BertWordPieceTokenizer

BERT_PAIRS = [
    ("hello", "world"),
    ("hello world", "a b!"),
    ("", "worlding"),
    ("a", ""),
    ("[SEP] a", "b [SEP] hello"),
    ("hello world! a b", "b a world hello world hello a b a b a b a b a b a b"),
    ("a b a b a b a b a b a b a b a b a b", "hello world"),
    ("a b a b a b a b a b a b a b a b a b", "hello world hello world hello world hello world"),
]
XLMR_PAIRS = [
    ([5], [6]),
    ([5, 6, 7], [8, 9, 10, 11]),
    ([], [7, 7, 7]),
    ([11, 10, 9, 8, 7], []),
]


def score(model, **inputs):
    with torch.no_grad():
        return model(**{name: torch.tensor([values]) for name, values in inputs.items()}).logits.item()


def bert(directory):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    vocabulary = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
    tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)
    tokenizer.enable_truncation(16, strategy="longest_first")
    for query, text in BERT_PAIRS:
        encoding = tokenizer.encode(query, text)
        logit = score(model, input_ids=encoding.ids, token_type_ids=encoding.type_ids)
        yield {"query": query, "text": text, "ids": encoding.ids, "second": encoding.type_ids.index(1), "logit": logit}


def xlmr(directory):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    for query, text in XLMR_PAIRS:
        ids = [0, *query, 2, 2, *text, 2]
        yield {"ids": ids, "second": len(query) + 3, "logit": score(model, input_ids=ids)}


def main():
    root = Path(sys.argv[1])
    expected = {
        "transformers": transformers.__version__,
        "bert": list(bert(root / "models_reranker-bert")),
        "xlmr": list(xlmr(root / "models_reranker-xlmr")),
    }
    json.dump(expected, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
