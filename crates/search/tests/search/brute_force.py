"""The exact search of an index in INT8 by NumPy: `brute_force.py INDEX QUERIES K`.

QUERIES has a line of JSON for each query: {"values": [whole numbers], "scale": number}. Prints a line of JSON for each: rows
and the bits of their scores, best first, rows of equal scores in their order.
"""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.ipc

index, queries, k = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = pa.ipc.open_file(pa.memory_map(index))
batches = [file.get_batch(number) for number in range(file.num_record_batches)]
rows = [batch.column("embedding") for batch in batches]
rows = np.concatenate([column.values.to_numpy().reshape(len(column), -1) for column in rows]).astype(np.int32)
scales = np.concatenate([batch.column("scale").to_numpy() for batch in batches])
with open(queries, encoding="utf-8") as lines:
    for query in map(json.loads, lines):
        sums = rows @ np.array(query["values"], dtype=np.int32)
        scores = sums.astype(np.float32) * scales * np.float32(query["scale"])
        best = np.lexsort((np.arange(len(scores)), -scores))[:k]
        print(json.dumps([best.tolist(), scores[best].view(np.uint32).tolist()]))
