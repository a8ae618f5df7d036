"""Compares outputs with the files that their rows come from: `check.py INPUT OUTPUT INPUT OUTPUT...`.

Kept columns and ids must have the same types and values. Prints what differs.
"""

import json
import math
import os
import sys

# Polars has no intervals, and would read no file that has some.
os.environ["POLARS_IMPORT_INTERVAL_AS_STRUCT"] = "1"

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq


def read(path):
    if path.endswith(".parquet"):
        return pq.read_table(path)
    with pa.OSFile(path) as file:
        magic = file.read(6)
    if magic == b"ARROW1":
        return pa.ipc.open_file(path).read_all()
    return pa.ipc.open_stream(path).read_all()


def carried(kind):
    """The type that a column of this type has in an output."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return kind.value_type
    if pa.types.is_list_view(kind):
        return pa.list_(kind.value_type)
    return kind


def in_parquet(kind):
    """The type in place of one of seconds, which Parquet does not know, or `date64`."""
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", kind.tz)
    if kind == pa.time32("s"):
        return pa.time32("ms")
    return pa.timestamp("ms") if kind == pa.date64() else kind


def plain(value):
    """The value with NaN as text, which is equal to itself, and the sign of zero."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def is_text(kind):
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def shape(kind):
    """The type without names and nullability of inner fields, in which writers differ."""
    if pa.types.is_list(kind):
        return ("list", shape(kind.value_type))
    if pa.types.is_large_list(kind):
        return ("large list", shape(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return ("fixed list", kind.list_size, shape(kind.value_type))
    if pa.types.is_map(kind):
        return ("map", shape(kind.key_type), shape(kind.item_type))
    if pa.types.is_struct(kind):
        return ("struct", [(field.name, shape(field.type)) for field in kind])
    return str(kind)


def differences(given, output):
    table = read(output)
    for field in given.schema:
        name = field.name
        if name == "interval" and output.endswith(".parquet"):
            continue  # It has none of months, days and nanoseconds.
        if name not in table.schema.names:
            yield f"{output}: no column {name}"
            continue
        before = given[name]
        if output.endswith(".parquet") and in_parquet(field.type) != field.type:
            before = before.cast(in_parquet(field.type))
        expected = shape(carried(before.type))
        kind = table.schema.field(name).type
        found = shape(kind)
        # Which of the types of texts a dictionary in Parquet has depends on the reader.
        either = pa.types.is_dictionary(field.type) and is_text(field.type.value_type) and is_text(kind)
        if found != expected and not either:
            yield f"{output}: {name} is {found}, not {expected}"
        values = [plain(value) for value in table[name].to_pylist()]
        before = [plain(value) for value in before.to_pylist()]
        if values != before:
            yield f"{output}: {name} holds {values}, not {before}"
    vectors = table.schema.field("embedding").type
    if not pa.types.is_fixed_size_list(vectors) or vectors.value_type != pa.float32():
        yield f"{output}: embedding is {vectors}"
    frame = pl.read_parquet(output) if output.endswith(".parquet") else pl.read_ipc(output)
    if frame["embedding"].dtype != pl.Array(pl.Float32, vectors.list_size):
        yield f"{output}: Polars takes embedding for {frame['embedding'].dtype}"
    if frame["id"].to_list() != given["id"].to_pylist():
        yield f"{output}: Polars reads other ids"


def lines(given, output):
    """JSON lines: whole numbers, truth values and texts must be the same."""
    with open(output, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for field in given.schema:
        kind = carried(field.type)
        exact = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)
        if exact and [row[field.name] for row in rows] != given[field.name].to_pylist():
            yield f"{output}: {field.name} holds other values"


if __name__ == "__main__":
    found = []
    for given, output in zip(sys.argv[1::2], sys.argv[2::2]):
        compare = lines if output.endswith(".jsonl") else differences
        found += compare(read(given), output)
    print("\n".join(found))
    sys.exit(bool(found))
