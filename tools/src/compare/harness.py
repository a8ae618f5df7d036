# The common half of an engine in Python: the engine's own file, put before this one, defines
#   start(job, *arguments) -> embed, where embed(texts) takes lists of ids and returns their vectors, arrays of any length.
# A job in JSON comes from standard input, its answer goes to standard output; see Job and Answer in engine.rs.
import json
import sys
import time


def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def measure(embed, texts, runs, seconds):
    embed(texts[:1])
    times = []
    while len(times) < runs and (not times or sum(times) < seconds * 1e3):
        begin = time.perf_counter()
        embed(texts)
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def main():
    job = json.load(sys.stdin)
    embed = start(job, *sys.argv[1:])
    times_ms = [measure(embed, texts, job["runs"], job["seconds"]) for texts in job["cases"]]
    peak = peak_mb()
    vectors = [embed([ids])[0].tolist() for ids in job["embedded"]]
    json.dump({"times_ms": times_ms, "peak_mb": peak, "vectors": vectors}, sys.stdout)


main()
