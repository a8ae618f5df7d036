# llama.cpp as an engine; its argument is the flash attention setting, 0 or 1.
import ctypes
import sys

import llama_cpp.llama_cpp as llama
import numpy

LONGEST = 2048
MOST_TEXTS = 64


def start(job, flash):
    # A callback that nothing refers to would be freed while llama.cpp still calls it.
    start.silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(start.silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(job["model"].encode(), llama.llama_model_default_params())
    if not model:
        sys.exit("llama.cpp cannot load " + job["model"])
    parameters = llama.llama_context_default_params()
    # A bidirectional text has to fit into one batch.
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = LONGEST
    parameters.n_seq_max, parameters.kv_unified = MOST_TEXTS, True
    parameters.n_threads = parameters.n_threads_batch = job["threads"]
    parameters.embeddings = True
    parameters.flash_attn_type = int(flash)
    context = llama.llama_init_from_model(model, parameters)
    if not context:
        sys.exit("llama.cpp cannot make a context")
    size = llama.llama_model_n_embd(model)
    batch = llama.llama_batch_init(LONGEST, 0, 1)

    def decode(texts):
        batch.n_tokens = 0
        for text, ids in enumerate(texts):
            for position, token in enumerate(ids):
                i = batch.n_tokens
                batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
                batch.seq_id[i][0], batch.logits[i] = text, 1
                batch.n_tokens = i + 1
        if llama.llama_decode(context, batch) != 0:
            sys.exit(f"llama.cpp fails on texts of {[len(ids) for ids in texts]} tokens")
        vectors = [llama.llama_get_embeddings_seq(context, text) for text in range(len(texts))]
        return [numpy.ctypeslib.as_array(vector, (size,)).copy() for vector in vectors]

    def embed(texts):
        # One text a call: attention over several in one batch is computed for every pair of their tokens, which costs
        # more than it saves (measured: PACK).
        return [vector for ids in texts for vector in decode([ids])]

    return embed


