"""Asks a server through the clients that people have: `check.py URL MODEL EXPECTED`.

EXPECTED has a line of JSON for each text and prompt: {"text": ..., "prompt": "raw", "query" or "document", "vector": [...]}.
What the clients give must be these vectors, bit for bit. Prints what differs.
"""

import json
import os
import sys

# Nothing of this leaves the machine.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["NO_PROXY"] = "*"

import huggingface_hub
import numpy as np
import ollama
import openai
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from langchain_openai import OpenAIEmbeddings

PROMPTS = ["raw", "query", "document"]
URL, MODEL, EXPECTED = sys.argv[1:]
problems = []


def expected():
    """The texts, which are the same for each prompt, and the vectors of each prompt."""
    texts, vectors = {}, {}
    with open(EXPECTED, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            texts.setdefault(line["prompt"], []).append(line["text"])
            vectors.setdefault(line["prompt"], []).append(line["vector"])
    assert sorted(texts) == sorted(PROMPTS) and texts["raw"] == texts["query"] == texts["document"]
    return texts["raw"], {prompt: np.array(rows, dtype=np.float32) for prompt, rows in vectors.items()}


TEXTS, VECTORS = expected()
DIMS = len(VECTORS["raw"][0])


def check(name, condition):
    if not condition:
        problems.append(name)


def same(name, found, right):
    """Whether vectors of any kind of numbers are these, bit for bit."""
    found = np.array(found, dtype=np.float32)
    check(name, found.shape == right.shape and found.tobytes() == right.astype(np.float32).tobytes())


def shortened(vectors, dims):
    """About what the server gives for fewer dimensions; the bits are the library's matter."""
    vectors = vectors[:, :dims].astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def refused(name, kind, call, *parts):
    """Whether a call fails with an error of this kind that says all this."""
    try:
        call()
    except kind as error:
        for part in parts:
            check(f"{name}: {part!r} in {error}", part in str(error))
    else:
        check(f"{name}: it was not refused", False)


def check_openai(half):
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
    models = [model.id for model in client.models.list()]
    for name in [MODEL, *(f"{MODEL}:{prompt}" for prompt in PROMPTS)]:
        check(f"openai: {name} in {models}", name in models)
    for prompt in PROMPTS:
        model = f"{MODEL}:{prompt}"
        # Base64, as the client asks for by itself.
        answer = client.embeddings.create(model=model, input=TEXTS)
        same(f"openai, {model}", [item.embedding for item in answer.data], VECTORS[prompt])
        check("openai, usage", answer.usage.total_tokens >= len(TEXTS))
        answer = client.embeddings.create(model=model, input=TEXTS, encoding_format="float", user="me")
        same(f"openai, {model}, float", [item.embedding for item in answer.data], VECTORS[prompt])
        answer = client.embeddings.create(model=model, input=TEXTS[0])
        same(f"openai, {model}, a string", answer.data[0].embedding, VECTORS[prompt][0])
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    same("openai, without a prompt", [item.embedding for item in answer.data], VECTORS["raw"])
    answer = client.embeddings.create(model=MODEL, input=TEXTS, dimensions=half)
    found = np.array([item.embedding for item in answer.data])
    right = shortened(VECTORS["raw"], half)
    check("openai, dimensions", found.shape == right.shape and np.abs(found - right).max() < 1e-6)
    raw = client.embeddings.with_raw_response.create(model=MODEL, input=TEXTS[0])
    check("openai, the header with the space", raw.headers["x-lanewise-space"])

    tokens = [[token["id"] for token in tokens] for tokens in post("/tokenize", {"inputs": TEXTS})]
    answer = client.embeddings.create(model=MODEL, input=tokens)
    same("openai, lists of tokens", [item.embedding for item in answer.data], VECTORS["raw"])
    answer = client.embeddings.create(model=MODEL, input=tokens[0])
    same("openai, tokens", answer.data[0].embedding, VECTORS["raw"][0])

    embeddings = client.embeddings.create
    refused("openai, model", openai.NotFoundError, lambda: embeddings(model="other", input="a"), "other", MODEL)
    refused("openai, empty", openai.BadRequestError, lambda: embeddings(model=MODEL, input=[]), "input")
    unknown = lambda: embeddings(model=MODEL, input="a", extra_body={"prompt": "query"})
    refused("openai, unknown", openai.BadRequestError, unknown, "prompt")
    long = lambda: embeddings(model=MODEL, input="word " * 100_000)
    refused("openai, long", openai.BadRequestError, long, "maximum context length")
    with_prompt = lambda: embeddings(model=f"{MODEL}:query", input=tokens)
    refused("openai, tokens and a prompt", openai.BadRequestError, with_prompt, "token ids")


def check_langchain(half):
    for prompt in PROMPTS:
        client = OpenAIEmbeddings(
            model=f"{MODEL}:{prompt}", base_url=f"{URL}/v1", api_key="none", check_embedding_ctx_length=False, max_retries=0
        )
        same(f"langchain, {prompt}", client.embed_documents(TEXTS), VECTORS[prompt])
        same(f"langchain, {prompt}, a query", client.embed_query(TEXTS[0]), VECTORS[prompt][0])
    client = OpenAIEmbeddings(
        model=MODEL, base_url=f"{URL}/v1", api_key="none", check_embedding_ctx_length=False, max_retries=0, dimensions=half
    )
    check("langchain, dimensions", len(client.embed_query(TEXTS[0])) == half)


def check_huggingface():
    for path in ["", "/embed"]:
        client = InferenceClient(model=f"{URL}{path}")
        same(f"huggingface{path}", client.feature_extraction(TEXTS), VECTORS["raw"])
        for prompt in PROMPTS:
            found = client.feature_extraction(
                TEXTS, prompt_name=prompt, normalize=True, truncate=True, truncation_direction="right"
            )
            same(f"huggingface{path}, {prompt}", found, VECTORS[prompt])
        same(f"huggingface{path}, a string", client.feature_extraction(TEXTS[0]), VECTORS["raw"][:1])
        unnormalized = lambda: client.feature_extraction(TEXTS, normalize=False)
        refused("huggingface, normalize", HfHubHTTPError, unnormalized, "422")
        left = lambda: client.feature_extraction(TEXTS, truncate=True, truncation_direction="left")
        refused("huggingface, left", HfHubHTTPError, left, "422")
        long = lambda: client.feature_extraction("word " * 100_000)
        refused("huggingface, long", HfHubHTTPError, long, "413")
    client = InferenceClient(model=f"{URL}/similarity")
    scores = client.sentence_similarity(TEXTS[0], other_sentences=TEXTS)
    right = VECTORS["raw"].astype(np.float64) @ VECTORS["raw"][0].astype(np.float64)
    check("huggingface, similarity", np.abs(np.array(scores) - right).max() < 1e-5)
    client = InferenceClient(model=URL, provider="hf-inference")
    check("huggingface, info", client.get_endpoint_info()["model_id"] == MODEL)
    check("huggingface, health", client.health_check())


def check_ollama(half):
    client = ollama.Client(host=URL)
    names = [model.model for model in client.list().models]
    check(f"ollama: {MODEL}:latest in {names}", f"{MODEL}:latest" in names)
    for name, prompt in [(MODEL, "raw"), *((f"{MODEL}:{prompt}", prompt) for prompt in PROMPTS)]:
        same(f"ollama, {name}", client.embed(model=name, input=TEXTS).embeddings, VECTORS[prompt])
        same(f"ollama, {name}, a string", client.embed(model=name, input=TEXTS[0]).embeddings, VECTORS[prompt][:1])
        same(f"ollama, {name}, old", client.embeddings(model=name, prompt=TEXTS[0]).embedding, VECTORS[prompt][0])
    answer = client.embed(model=MODEL, input=TEXTS[0], dimensions=half, keep_alive="5m", options={"num_thread": 2})
    check("ollama, dimensions", len(answer.embeddings[0]) == half)
    refused("ollama, model", ollama.ResponseError, lambda: client.embed(model="other", input="a"), "other", "404")
    options = lambda: client.embed(model=MODEL, input="a", options={"num_ctx": 8})
    refused("ollama, options", ollama.ResponseError, options, "num_ctx")
    long = "word " * 100_000
    check("ollama, long", len(client.embed(model=MODEL, input=long).embeddings) == 1)
    refused("ollama, truncate", ollama.ResponseError, lambda: client.embed(model=MODEL, input=long, truncate=False), "input")


def post(path, body):
    session = huggingface_hub.get_session()
    answer = session.post(f"{URL}{path}", json=body)
    answer.raise_for_status()
    return answer.json()


lengths = huggingface_hub.get_session().get(f"{URL}/info").json()["dimensions"]
check(f"dimensions: {lengths} begin with {DIMS}", lengths[0] == DIMS)
# Vectors of a model that names one length only can have any below it.
half = lengths[1] if len(lengths) > 1 else DIMS // 2
check_openai(half)
check_langchain(half)
check_huggingface()
check_ollama(half)
for problem in problems:
    print(problem)
sys.exit(bool(problems))
