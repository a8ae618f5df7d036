# OpenVINO as an engine; its arguments are the model (an .xml file with inputs input_ids and attention_mask) and the group
# size of the dynamic quantization of activations.
import numpy
import openvino

TOKENS_PER_CALL = 2048


def start(job, model, group):
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": job["threads"],
        "PERFORMANCE_HINT": "LATENCY",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": int(group),
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()

    def infer(texts):
        mask = numpy.zeros((len(texts), max(map(len, texts))), numpy.int64)
        ids = numpy.zeros_like(mask)
        for row, text in enumerate(texts):
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
        request.infer({"input_ids": ids, "attention_mask": mask})
        return request.get_output_tensor(0).data.copy()

    def embed(texts):
        # Texts of like length together, for little padding.
        order = sorted(range(len(texts)), key=lambda text: -len(texts[text]))
        vectors = [None] * len(texts)
        while order:
            count = max(1, TOKENS_PER_CALL // len(texts[order[0]]))
            call, order = order[:count], order[count:]
            for text, vector in zip(call, infer([texts[text] for text in call])):
                vectors[text] = vector
        return vectors

    return embed


