"""Writes the files that tests/bulk_real_writers.rs reads: `write.py arrow|polars DIRECTORY [PATH]`.

PATH is where another version of Polars lies.
"""

import datetime
import decimal
import sys

ROWS = 5
TEXTS = ["one", "two words", "", "a somewhat longer text than the others", "väter"]
DAY = datetime.date(2020, 2, 29)
MOMENT = datetime.datetime(2020, 2, 29, 12, 30, 15, 123456)


def arrow(directory):
    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    def column(values, kind):
        return pa.array(values, type=kind)

    nan = float("nan")
    columns = {
        "id": column([1, -2, 2**63 - 1, 4, 5], pa.int64()),
        "text": column(TEXTS, pa.string()),
        "bool": column([True, None, False, True, None], pa.bool_()),
        "int8": column([1, None, -128, 127, 0], pa.int8()),
        "uint64": column([2**64 - 1, None, 0, 1, 2], pa.uint64()),
        "float32": column([0.1, None, nan, float("inf"), -0.0], pa.float32()),
        "large": column(["a", None, "", "b", "c"], pa.large_string()),
        "binary": column([b"\xff\x00", None, b"", b"a", b"b"], pa.binary()),
        "uuid": column([bytes(range(16)), None, b"\xff" * 16, bytes(16), None], pa.binary(16)),
        "date": column([DAY, None, DAY, DAY, None], pa.date32()),
        "time": column([datetime.time(1, 2, 3, 4), None, None, None, None], pa.time64("us")),
        "naive": column([MOMENT, None, MOMENT, None, None], pa.timestamp("us")),
        "utc": column([MOMENT, None, MOMENT, None, None], pa.timestamp("us", "UTC")),
        "zone": column([MOMENT, None, MOMENT, None, None], pa.timestamp("us", "Europe/Zurich")),
        "duration": column([1, None, -3, 4, 5], pa.duration("us")),
        "decimal": column([decimal.Decimal("1.50"), None, None, None, None], pa.decimal128(20, 2)),
        "list": column([[1.5, nan, None], None, [], [0.1], [2.0]], pa.list_(pa.float64())),
        "fixed": column([[1, 2], None, [3, None], [4, 5], [6, 7]], pa.list_(pa.int16(), 2)),
        "struct": column(
            [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 3, "b": None}, {}],
            pa.struct([("a", pa.int32()), ("b", pa.string())]),
        ),
        "map": column([[("k", 1), ("l", None)], None, [], [("m", 2)], []], pa.map_(pa.string(), pa.int64())),
        "dictionary": pa.array(["x", None, "y", "x", "x"]).dictionary_encode(),
        "null": pa.nulls(ROWS),
    }
    only_arrow = {
        "view": column(["a", None, "a text of more than twelve bytes", "b", "c"], pa.string_view()),
        "runs": pa.RunEndEncodedArray.from_arrays([2, 5], ["x", None]),
        "views": column([[1, 2], None, [], [3], [4]], pa.list_view(pa.int32())),
        "seconds": column([1, None, -3, 4, 5], pa.timestamp("s", "Asia/Tokyo")),
        "clock": column([1, None, 3, 4, 5], pa.time32("s")),
        "date64": column([DAY, None, None, None, None], pa.date64()),
        "interval": column([(1, 2, 3), None, None, None, None], pa.month_day_nano_interval()),
    }
    table = pa.table(columns).replace_schema_metadata({"made by": "a test"})
    wide = pa.table(columns | only_arrow)

    def ipc(name, table, stream=False, compression=None, chunk=None):
        options = pa.ipc.IpcWriteOptions(compression=compression)
        make = pa.ipc.new_stream if stream else pa.ipc.new_file
        with make(f"{directory}/{name}", table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=chunk)

    ipc("file.arrow", wide, chunk=2)
    ipc("zstd.arrow", wide, compression="zstd", chunk=2)
    ipc("lz4.arrow", wide, compression="lz4")
    ipc("stream.arrows", wide, stream=True, chunk=2)
    ipc("zstd.arrows", wide, stream=True, compression="zstd")
    # Batches without rows between those that have some.
    plain = table.drop_columns(["dictionary"])
    empty = pa.RecordBatch.from_pylist([], schema=plain.schema)
    with pa.ipc.new_file(f"{directory}/empty-batches.arrow", plain.schema) as writer:
        for batch in [empty, *plain.to_batches(max_chunksize=3), empty]:
            writer.write_batch(batch)
    # Dictionaries that grow in a file, and are replaced in a stream.
    words = [["x", "y", None, "x"], ["x", "y", "z"]]
    kind = pa.dictionary(pa.int32(), pa.string())
    grown = [pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), words[0][:2]),
             pa.DictionaryArray.from_arrays(pa.array([2, 1], pa.int32()), words[1])]
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("word", kind)])
    batches = [
        pa.record_batch([columns["id"][start:end], columns["text"][start:end], array], schema=schema)
        for (start, end), array in zip([(0, 3), (3, 5)], grown)
    ]
    deltas = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.ipc.new_file(f"{directory}/deltas.arrow", schema, options=deltas) as writer:
        for batch in batches:
            writer.write_batch(batch)
    with pa.ipc.new_stream(f"{directory}/replaced.arrows", schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    feather.write_feather(table, f"{directory}/feather.feather")

    for compression in ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]:
        pq.write_table(table, f"{directory}/{compression}.parquet", compression=compression, row_group_size=2)
    pq.write_table(table, f"{directory}/pages-2.parquet", data_page_version="2.0", use_dictionary=False)
    pq.write_table(table, f"{directory}/no-schema.parquet", store_schema=False)


def polars(directory):
    import polars as pl

    frame = pl.DataFrame(
        {
            "id": [1, -2, 2**63 - 1, 4, 5],
            # Before the texts: Polars 1.0 counts the buffers of its dictionary among theirs.
            "categorical": pl.Series(["x", None, "y", "x", "x"], dtype=pl.Categorical),
            "text": TEXTS,
            "bool": [True, None, False, True, None],
            "float": [0.1, None, float("nan"), float("inf"), -0.0],
            "uint64": pl.Series([2**64 - 1, None, 0, 1, 2], dtype=pl.UInt64),
            "binary": [b"\xff\x00", None, b"", b"a", b"b"],
            "date": [DAY, None, DAY, DAY, None],
            "time": [datetime.time(1, 2, 3), None, None, None, None],
            "naive": [MOMENT, None, MOMENT, None, None],
            "zone": pl.Series([MOMENT, None, MOMENT, None, None]).dt.replace_time_zone("Europe/Zurich"),
            "duration": [datetime.timedelta(seconds=1), None, None, None, None],
            "decimal": pl.Series(["1.50", None, None, None, None]).cast(pl.Decimal(20, 2)),
            "list": [[1.5, float("nan"), None], None, [], [0.1], [2.0]],
            "array": pl.Series([[1, 2], None, [3, 4], [4, 5], [6, 7]], dtype=pl.Array(pl.Int16, 2)),
            "struct": [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": None, "b": "y"}, {"a": 3, "b": None}, {"a": 4, "b": ""}],
            "enum": pl.Series(["x", None, "y", "x", "x"], dtype=pl.Enum(["x", "y"])),
        }
    )
    for compression in ["uncompressed", "lz4", "zstd"]:
        for level in ["oldest", "newest"]:
            # Versions before 1.1 call it otherwise.
            try:
                how = {"compat_level": getattr(pl.CompatLevel, level)()}
            except AttributeError:
                how = {"future": level == "newest"}
            name = f"{directory}/{compression}-{level}"
            frame.write_ipc(f"{name}.arrow", compression=compression, **how)
            frame.write_ipc_stream(f"{name}.arrows", compression=compression, **how)
    for compression in ["uncompressed", "snappy", "zstd", "lz4"]:
        frame.write_parquet(f"{directory}/{compression}.parquet", compression=compression)


if __name__ == "__main__":
    writer, directory, *path = sys.argv[1:]
    sys.path[:0] = path
    {"arrow": arrow, "polars": polars}[writer](directory)
