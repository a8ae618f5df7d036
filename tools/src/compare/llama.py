"""Runs llama.cpp as one engine of `compare`: a job in JSON on standard input, its answer on standard output.

The one argument is the flash attention setting, 0 or 1.
"""
import ctypes
import json
import sys
import time

import llama_cpp.llama_cpp as llama
import numpy

LONGEST = 2048


def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def main():
    job = json.load(sys.stdin)
    silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(job["model"].encode(), llama.llama_model_default_params())
    if not model:
        sys.exit("llama.cpp cannot load " + job["model"])
    parameters = llama.llama_context_default_params()
    # A bidirectional text has to fit into one batch.
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = LONGEST
    parameters.n_threads = parameters.n_threads_batch = job["threads"]
    parameters.embeddings = True
    parameters.flash_attn_type = int(sys.argv[1])
    context = llama.llama_init_from_model(model, parameters)
    if not context:
        sys.exit("llama.cpp cannot make a context")
    size = llama.llama_model_n_embd(model)
    batch = llama.llama_batch_init(LONGEST, 0, 1)

    def embed(ids):
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, i, 1
            batch.seq_id[i][0], batch.logits[i] = 0, 1
        batch.n_tokens = len(ids)
        if llama.llama_decode(context, batch) != 0:
            sys.exit(f"llama.cpp fails on a text of {len(ids)} tokens")
        return numpy.ctypeslib.as_array(llama.llama_get_embeddings_seq(context, 0), (size,)).tolist()

    def times(ids):
        embed(ids)
        for _ in range(job["runs"]):
            start = time.perf_counter()
            embed(ids)
            yield (time.perf_counter() - start) * 1e3

    answer = {"times_ms": [list(times(ids)) for ids in job["timed"]], "peak_mb": peak_mb()}
    answer["vectors"] = [embed(ids) for ids in job["embedded"]]
    json.dump(answer, sys.stdout)


main()
