#!/usr/bin/env python3
"""Prints random blocks of the weight types and their values: how blocks.jsonl was made.

    pip install gguf==0.19.0 && python3 blocks.py >blocks.jsonl

A line is a type, its blocks, and their values as gguf-py dequantizes them: float32, little-endian; both in
hexadecimal.
"""
import json
import random

import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Of each type, where a block has its numbers in f16.
TYPES = {
    "Q8_0": [0],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "IQ4_NL": [0],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}

random.seed(1)
for name, floats in TYPES.items():
    kind = GGMLQuantizationType[name]
    values, size = GGML_QUANT_SIZES[kind]
    data = bytearray()
    for _ in range(2 if values == 256 else 4):
        block = bytearray(random.randbytes(size))
        for at in floats:
            # Any number in f16 but infinities and NaN.
            while block[at + 1] & 0x7C == 0x7C:
                block[at + 1] = random.randrange(256)
        data += block
    expected = dequantize(numpy.frombuffer(bytes(data), numpy.uint8), kind)
    expected = expected.astype("<f4").tobytes()
    print(json.dumps({"type": name, "blocks": data.hex(), "values": expected.hex()}))
