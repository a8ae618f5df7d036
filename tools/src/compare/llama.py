# llama.cpp as an engine; its argument is the flash attention setting, 0 or 1.
import ctypes
import sys

import llama_cpp.llama_cpp as llama
import numpy

LONGEST = 2048
MOST_TEXTS = 64
# Tokens of several texts that share a call, without flash attention and with it. Attention is computed for every pair of
# them, so more is not better: 16 texts of 128 tokens, 1, 2, 4, 8 and 16 a call, gave 804, 947, 858, 709 and 514 tokens/s
# without and 885, 957, 1023, 1066 and 908 with it (Zen 5, two threads).
TOKENS_PER_CALL = {"0": 256, "1": 1024}


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
        vectors, call = [], []
        for ids in texts:
            if call and (len(call) == MOST_TEXTS or sum(map(len, call)) + len(ids) > TOKENS_PER_CALL[flash]):
                vectors += decode(call)
                call = []
            call.append(ids)
        return vectors + decode(call)

    return embed


