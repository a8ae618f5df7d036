#!/usr/bin/env python3
"""Writes an EmbeddingGemma checkpoint (Hugging Face layout) as one GGUF file.

    checkpoint_to_gguf.py CHECKPOINT_DIR OUT.gguf [q8_0|f32] [--no-dense]

`tools/get-model` calls it. It needs Python 3.9 and numpy; safetensors, the
SentencePiece model and GGUF are read and written here, each in a few lines.
Matrices take the named type, vectors stay f32.
"""
import argparse
import json
import pathlib
import struct
import sys

import numpy as np

ARCHITECTURE = "gemma-embedding"
ALIGNMENT = 32
Q8_0_BLOCK = 32
# Rows of a matrix converted at a time: bounds the memory, changes no byte.
ROWS_AT_ONCE = 8192

# Numbers of the GGUF specification.
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_TYPE = {"f32": 0, "q8_0": 8}
FILE_TYPE = {"f32": 0, "q8_0": 7}
POOLING_MEAN = 1
QUANTIZATION_VERSION = 2
# Token types; SentencePiece numbers its piece types the same way.
NORMAL, _, CONTROL, USER_DEFINED, UNUSED, _ = 1, 2, 3, 4, 5, 6
# `<unk>` of Gemma's vocabulary; the configuration does not name it.
UNKNOWN_ID = 3

LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
}


# --- The checkpoint -----------------------------------------------------------


def read_safetensors(path):
    """Name -> float32 array mapped from the file, in the order of the names."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in sorted(header.items()):
        if entry["dtype"] != "F32":
            sys.exit(f"{path}: {name} is {entry['dtype']}; only an F32 checkpoint is converted")
        tensors[name] = np.memmap(
            path, "<f4", "r", offset=8 + length + entry["data_offsets"][0], shape=tuple(entry["shape"])
        )
    return tensors


def gguf_name(name):
    """The GGUF name of a tensor of the transformer."""
    stem = name.removeprefix("model.").removesuffix(".weight")
    if stem == "embed_tokens":
        return "token_embd.weight"
    if stem == "norm":
        return "output_norm.weight"
    _, layer, rest = stem.split(".", 2)
    return f"blk.{layer}.{LAYER_TENSORS[rest]}.weight"


def protobuf_fields(data):
    """(field number, value) of one protobuf message; length-delimited values as bytes."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while position < len(data):
        key = varint()
        wire = key & 7
        if wire == 0:
            yield key >> 3, varint()
            continue
        length = varint() if wire == 2 else {1: 8, 5: 4}[wire]
        yield key >> 3, data[position : position + length]
        position += length


def read_pieces(path):
    """(piece, score, type) of every entry of a SentencePiece model."""
    for field, value in protobuf_fields(memoryview(path.read_bytes())):
        if field != 1:
            continue
        piece, score, kind = b"", 0.0, NORMAL
        for number, content in protobuf_fields(value):
            if number == 1:
                piece = bytes(content)
            elif number == 2:
                (score,) = struct.unpack("<f", content)
            elif number == 3:
                kind = content
        # Its user-defined pieces become so again only if the tokenizer's own list says it.
        yield piece, score, NORMAL if kind == USER_DEFINED else kind


def vocabulary(checkpoint, size):
    """Tokens, scores and types: the SentencePiece model, overlaid with the added tokens."""
    entries = [(f"[PAD{i}]".encode(), -10000.0, UNUSED) for i in range(size)]
    for i, entry in zip(range(size), read_pieces(checkpoint / "tokenizer.model")):
        entries[i] = entry
    added = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    for key, token in added["added_tokens_decoder"].items():
        if int(key) >= size:
            continue
        text = token["content"]
        control = token.get("special") or text in ("<pad>", "<mask>") or text.startswith("<unused")
        # Runs of spaces stand in GGUF as spaces.
        entries[int(key)] = (text.replace("\u2581", " ").encode(), -1000.0, CONTROL if control else USER_DEFINED)
    return zip(*entries)


# --- GGUF ---------------------------------------------------------------------


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
    head = struct.pack("<IIQ", ARRAY, kind, len(values))
    return string(key) + head + b"".join(map(PACK[kind], values))


def metadata(checkpoint, config, kind, heads):
    """The key-value pairs, each packed."""
    tokens, scores, types = vocabulary(checkpoint, config["vocab_size"])
    own = lambda key, kind, value: pair(f"{ARCHITECTURE}.{key}", kind, value)
    pairs = [
        pair("general.architecture", STRING, ARCHITECTURE),
        pair("general.type", STRING, "model"),
        pair("general.name", STRING, "EmbeddingGemma 300M"),
        pair("general.license", STRING, "gemma"),
        own("block_count", UINT32, config["num_hidden_layers"]),
        own("context_length", UINT32, config["max_position_embeddings"]),
        own("embedding_length", UINT32, config["hidden_size"]),
        own("feed_forward_length", UINT32, config["intermediate_size"]),
        own("attention.head_count", UINT32, config["num_attention_heads"]),
        own("attention.head_count_kv", UINT32, config["num_key_value_heads"]),
        own("attention.key_length", UINT32, config["head_dim"]),
        own("attention.value_length", UINT32, config["head_dim"]),
        own("attention.layer_norm_rms_epsilon", FLOAT32, config["rms_norm_eps"]),
        own("rope.freq_base", FLOAT32, config["rope_theta"]),
        own("rope.freq_base_swa", FLOAT32, config["rope_local_base_freq"]),
        own("attention.sliding_window", UINT32, config["sliding_window"]),
        own("pooling_type", UINT32, POOLING_MEAN),
        pair("general.file_type", UINT32, FILE_TYPE[kind]),
        pair("general.quantization_version", UINT32, QUANTIZATION_VERSION),
    ]
    for number, (rows, columns) in heads.items():
        pairs.append(own(f"dense_{number}_feat_in", UINT32, columns))
        pairs.append(own(f"dense_{number}_feat_out", UINT32, rows))
    tokenizer = "tokenizer.ggml."
    return pairs + [
        pair(tokenizer + "model", STRING, "llama"),
        pair(tokenizer + "pre", STRING, "default"),
        array(tokenizer + "tokens", STRING, tokens),
        array(tokenizer + "scores", FLOAT32, scores),
        array(tokenizer + "token_type", INT32, types),
        pair(tokenizer + "bos_token_id", UINT32, config["bos_token_id"]),
        pair(tokenizer + "eos_token_id", UINT32, config["eos_token_id"]),
        pair(tokenizer + "unknown_token_id", UINT32, UNKNOWN_ID),
        pair(tokenizer + "padding_token_id", UINT32, config["pad_token_id"]),
        pair(tokenizer + "add_bos_token", BOOL, True),
        pair(tokenizer + "add_eos_token", BOOL, True),
        pair(tokenizer + "add_space_prefix", BOOL, False),
    ]


def quantize_q8_0(rows):
    """Blocks of 32 values as one f16 scale and 32 int8, rounded half away from zero."""
    blocks = np.asarray(rows).reshape(-1, Q8_0_BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    scaled = blocks * inverse
    whole = np.trunc(scaled)
    whole += np.where(np.abs(scaled - whole) >= 0.5, np.sign(scaled), np.float32(0))
    packed = np.empty(len(blocks), [("scale", "<f2"), ("values", "i1", Q8_0_BLOCK)])
    packed["scale"] = scale[:, 0]
    packed["values"] = whole
    return packed


def byte_length(shape, kind):
    count = int(np.prod(shape))
    return count // Q8_0_BLOCK * (2 + Q8_0_BLOCK) if kind == "q8_0" else 4 * count


def padding(length):
    return b"\0" * (-length % ALIGNMENT)


def write(out, pairs, tensors, kind):
    """Header, metadata, tensor list, then the tensors."""
    kinds = {name: kind if tensor.ndim == 2 else "f32" for name, tensor in tensors.items()}
    listing, offset = [], 0
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        listing.append(
            string(name)
            + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            + struct.pack("<IQ", TENSOR_TYPE[kinds[name]], offset)
        )
        length = byte_length(tensor.shape, kinds[name])
        offset += length + len(padding(length))
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(listing)
    total, tenths = len(header) + offset, 0
    with open(out, "wb") as file:
        file.write(header + padding(len(header)))
        for name, tensor in tensors.items():
            # GGUF keeps every norm's weight as 1 + w, the form an engine multiplies by.
            if name.endswith("norm.weight"):
                tensor = tensor + np.float32(1)
            for start in range(0, len(tensor), ROWS_AT_ONCE):
                rows = tensor[start : start + ROWS_AT_ONCE]
                (quantize_q8_0(rows) if kinds[name] == "q8_0" else rows).tofile(file)
                file.flush()
            file.write(padding(byte_length(tensor.shape, kinds[name])))
            tenths, before = 10 * file.tell() // total, tenths
            if tenths > before:
                print(f"  {10 * tenths} %", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("type", nargs="?", default="q8_0", choices=sorted(TENSOR_TYPE))
    parser.add_argument("--no-dense", action="store_true", help="leave out the two projection heads")
    arguments = parser.parse_args()

    config = json.loads((arguments.checkpoint / "config.json").read_text(encoding="utf-8"))
    weights = read_safetensors(arguments.checkpoint / "model.safetensors")
    tensors = {gguf_name(name): tensor for name, tensor in weights.items()}
    heads = {}
    if not arguments.no_dense:
        for number in (2, 3):
            (head,) = read_safetensors(arguments.checkpoint / f"{number}_Dense" / "model.safetensors").values()
            tensors[f"dense_{number}.weight"] = head
            heads[number] = head.shape
    pairs = metadata(arguments.checkpoint, config, arguments.type, heads)
    write(arguments.out, pairs, tensors, arguments.type)


if __name__ == "__main__":
    main()
