"""Compares vectors in two precisions with JSON lines of them: `vectors.py LINES OUTPUT...`.

`embedding` holds i8 and `embedding_binary` bits. Prints what differs.
"""

import json
import sys

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

TYPES = {"embedding": (pa.int8(), pl.Int8), "embedding_binary": (pa.uint8(), pl.UInt8)}


def differences(rows, output):
    if output.endswith(".parquet"):
        table, frame = pq.read_table(output), pl.read_parquet(output)
    else:
        # As a map: without a copy of what is not compressed.
        table = pa.ipc.open_file(pa.memory_map(output)).read_all()
        frame = pl.read_ipc(output)
    for name, (kind, polars_kind) in TYPES.items():
        values = [row[name] for row in rows]
        found = table.schema.field(name).type
        if not pa.types.is_fixed_size_list(found) or found.value_type != kind:
            yield f"{output}: {name} is {found}"
        if table[name].to_pylist() != values:
            yield f"{output}: {name} holds other values"
        if frame[name].dtype != pl.Array(polars_kind, len(values[0])):
            yield f"{output}: Polars takes {name} for {frame[name].dtype}"
        if frame[name].to_list() != values:
            yield f"{output}: Polars reads other values of {name}"
    if table["scale"].to_pylist() != pa.array([row["scale"] for row in rows], pa.float32()).to_pylist():
        yield f"{output}: other scales"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    found = [problem for output in sys.argv[2:] for problem in differences(lines, output)]
    print("\n".join(found))
    sys.exit(bool(found))
