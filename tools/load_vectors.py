#!/usr/bin/env python3
"""Load an Arrow file of `lanewise embed` into a database, and ask it for the rows nearest to one of them.

    lanewise embed --input corpus.jsonl --id-field id --keep text --precision f32 --output corpus.arrow
    load_vectors.py lancedb corpus.arrow DIRECTORY        # pip install pyarrow lancedb
    load_vectors.py qdrant corpus.arrow http://host:6333  # pip install pyarrow qdrant-client; or a directory
    load_vectors.py pgvector corpus.arrow postgresql://…  # pip install pyarrow pgvector 'psycopg[binary]'

With a number after them, that row's nearest rows are printed as `lanewise similar corpus.arrow --row N` would.
Vectors in i8 are multiplied by their scale, so that any precision but binary alone can be loaded.
"""

import sys
from pathlib import Path

import numpy
import pyarrow
import pyarrow.ipc

NAME = "lanewise"


def batches(path):
    """Each record batch: row numbers, texts or None, and vectors as a matrix of float32."""
    for batch in map(pyarrow.ipc.open_file(pyarrow.memory_map(path)).get_batch, range(count(path))):
        vectors = batch.column("embedding")
        matrix = vectors.values.to_numpy().reshape(len(batch), -1).astype(numpy.float32)
        if "scale" in batch.schema.names:
            matrix *= batch.column("scale").to_numpy()[:, None]
        texts = batch.column("text").to_pylist() if "text" in batch.schema.names else [None] * len(batch)
        yield batch.column("index").to_numpy(), texts, matrix


def count(path):
    return pyarrow.ipc.open_file(pyarrow.memory_map(path)).num_record_batches


def lancedb(path, place):
    import lancedb

    def tables():
        for rows, texts, matrix in batches(path):
            flat = pyarrow.array(matrix.ravel())
            vectors = pyarrow.FixedSizeListArray.from_arrays(flat, matrix.shape[1])
            yield pyarrow.RecordBatch.from_pydict({"row": rows, "text": pyarrow.array(texts, pyarrow.string()), "vector": vectors})

    first = next(tables())
    table = lancedb.connect(place).create_table(NAME, tables(), schema=first.schema, mode="overwrite")

    def nearest(vector, limit):
        found = table.search(vector).distance_type("dot").limit(limit).to_list()
        return [(hit["row"], 1 - hit["_distance"]) for hit in found]

    return nearest


def qdrant(path, place):
    from qdrant_client import QdrantClient, models

    client = QdrantClient(url=place) if "://" in place else QdrantClient(path=place)
    if client.collection_exists(NAME):
        client.delete_collection(NAME)
    for rows, texts, matrix in batches(path):
        if not client.collection_exists(NAME):
            size = models.VectorParams(size=matrix.shape[1], distance=models.Distance.DOT)
            client.create_collection(NAME, vectors_config=size)
        client.upload_collection(NAME, vectors=matrix, ids=rows.tolist(), payload=[{"text": text} for text in texts])

    def nearest(vector, limit):
        return [(hit.id, hit.score) for hit in client.query_points(NAME, query=vector, limit=limit).points]

    return nearest


def pgvector(path, place):
    import psycopg
    from pgvector import Vector
    from pgvector.psycopg import register_vector

    connection = psycopg.connect(place, autocommit=True)
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    register_vector(connection)
    connection.execute(f"DROP TABLE IF EXISTS {NAME}")
    for rows, texts, matrix in batches(path):
        width = matrix.shape[1]
        connection.execute(f"CREATE TABLE IF NOT EXISTS {NAME} (row bigint PRIMARY KEY, text text, vector vector({width}))")
        with connection.cursor().copy(f"COPY {NAME} (row, text, vector) FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "text", "vector"])
            for row, text, vector in zip(rows.tolist(), texts, matrix):
                copy.write_row((row, text, Vector(vector)))

    def nearest(vector, limit):
        query = f"SELECT row, -(vector <#> %s) FROM {NAME} ORDER BY vector <#> %s LIMIT %s"
        return connection.execute(query, (Vector(vector), Vector(vector), limit)).fetchall()

    return nearest


def main():
    databases = {load.__name__: load for load in (lancedb, qdrant, pgvector)}
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in databases or not Path(sys.argv[2]).is_file():
        sys.exit(__doc__)
    nearest = databases[sys.argv[1]](sys.argv[2], sys.argv[3])
    if len(sys.argv) == 5:
        wanted = int(sys.argv[4])
        vector = next(m[list(r).index(wanted)] for r, _, m in batches(sys.argv[2]) if wanted in r)
        found = [(row, score) for row, score in nearest(vector, 11) if row != wanted][:10]
        for rank, (row, score) in enumerate(found, 1):
            print(f"{rank}\t{score:.4f}\trow {row}")


if __name__ == "__main__":
    main()
