"""Exact search by FAISS on random unit vectors: a line of JSON for each kind of vector and number of queries.

Arguments: rows, dims, threads. Run by lanewise-tools search-bench --faiss PYTHON.
"""

import json
import statistics
import sys
import time

import faiss
import numpy as np

RUNS = 5
QUERIES = (1, 16)
NEIGHBORS = 10
rows, dims, threads = map(int, sys.argv[1:])
random = np.random.default_rng(1)


def unit_vectors(count):
    vectors = random.standard_normal((count, dims), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def int8(vectors):
    # As floats: FAISS takes no others.
    return np.round(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True)))


def add(index, convert):
    """Adds the rows in parts, so that not all of them are in memory twice."""
    for start in range(0, rows, 100_000):
        index.add(convert(unit_vectors(min(100_000, rows - start))))


def bits(vectors):
    return np.packbits(vectors > 0, axis=1)


def measure(name, kind, index, convert):
    add(index, convert)
    queries = convert(unit_vectors(max(QUERIES)))
    for count in QUERIES:
        index.search(queries[:count], NEIGHBORS)
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            index.search(queries[:count], NEIGHBORS)
            times.append(time.perf_counter() - start)
        milliseconds = statistics.median(times) * 1e3
        line = {"engine": f"FAISS {faiss.__version__} {name}", "vectors": kind, "queries": count, "median_ms": milliseconds}
        print(json.dumps(line), flush=True)


faiss.omp_set_num_threads(threads)
measure("IndexFlatIP", "f32", faiss.IndexFlatIP(dims), lambda vectors: vectors)
code = faiss.ScalarQuantizer.QT_8bit_direct_signed
measure("IndexScalarQuantizer, 8 bits direct, signed", "i8", faiss.IndexScalarQuantizer(dims, code, faiss.METRIC_INNER_PRODUCT), int8)
if dims % 8 == 0:
    measure("IndexBinaryFlat", "binary", faiss.IndexBinaryFlat(dims), bits)
