"""Prints compare.sh's table from the JSON files of its rounds: the best of each side.

  compare.py FOLDER MARKDOWN(0|1) ROUNDS COMMIT
"""
import datetime
import glob
import json
import os
import sys

folder, markdown, rounds, commit = sys.argv[1], sys.argv[2] == "1", sys.argv[3], sys.argv[4]


def read(name):
    files = sorted(glob.glob(os.path.join(folder, name + ".[0-9]*.json")))
    return [json.load(open(f)) for f in files if os.path.getsize(f)]


def bench(name, key, field="best_ms", best=min):
    found = [b.get(field, b["real_time"]) for run in read(name) for b in run.get("benchmarks", []) if key in b["name"] and not b.get("error_occurred")]
    return best(found) if found else None


def value(name, field, scale=1):
    found = [run[field] * scale for run in read(name) if field in run]
    return min(found) if found else None


def memory(name):
    ours, theirs = bench(name, "load", "peak_over_file"), value("reference_" + name, "peak_over_file")
    return f"peak {ours:.3f} of the file, theirs {theirs:.3f}" if ours and theirs else "-"


def peak(kind):
    """GFLOP/s of the fastest product of this kind, packed: what the machine gives one thread."""
    speeds = [b["best_GFLOP/s"] for run in read("products") for b in run.get("benchmarks", []) if f"/{kind}_packed/" in b["name"] and not b.get("error_occurred")]
    return max(speeds) if speeds else None


def arithmetic(name, key, kind="f32"):
    """Milliseconds that the products alone take at that speed."""
    flops = bench(name, key, "gflops")
    return flops / peak(kind) * 1e3 if flops and peak(kind) else None


tiny_step = arithmetic("tiny", "whole_step")
ROWS = [  # what, ours ms, theirs ms, wanted, bound ms, what the bound is
    ("step of tiny, f32", bench("tiny", "whole_step"), value("reference_tiny", "step_ms"), "4x, aim 6x", tiny_step, "arithmetic"),
    ("step of small, f32", bench("small", "whole_step"), value("reference_small", "step_ms"), "2.5x, aim 3.5x", arithmetic("small", "whole_step"), "arithmetic"),
    ("step of small, bf16", bench("bf16", "whole_step"), value("reference_bf16", "step_ms"), "2.5x, aim 3.5x", arithmetic("bf16", "whole_step", "bf16"), "arithmetic"),
    ("statistics, candidate, acceptance, [256, 262144]", bench("statistics", "candidate"), value("sampler", "sampler_ms"), "2 reads, aim 1.5", bench("statistics", "candidate", "read_ms"), "one read"),
    ("torch-mode draw, [256, 262144]", bench("draw", "torch_draw"), value("sampler", "draw_ms"), "3x, aim 5x", bench("draw", "torch_draw", "words_ms"), "the stream's words"),
    *(("a sample of tiny, 12 steps, in a sweep, 2 threads; " + theirs, value("sweep", "seconds_per_sample", 1e3), value("reference_sweep", field, 1e3), wanted,
       12 * tiny_step / 2 if tiny_step else None, "12 steps' arithmetic on 2 threads; ours with start, journal, HDF5")
      for theirs, field, wanted in (("theirs one by one", "seconds_alone", "10x, aim 20x"), ("theirs in batches of 8", "seconds_in_batches", "-"))),
    ("prefill of 512, tiny", bench("tiny", "prefill"), value("reference_tiny", "prefill_ms"), "2x, aim 3x", arithmetic("tiny", "prefill"), "arithmetic"),
    ("prefill of 512, small", bench("small", "prefill"), value("reference_small", "prefill_ms"), "2x, aim 3x", arithmetic("small", "prefill"), "arithmetic"),
    ("load of 2 GB in bf16, warm", bench("warm", "load"), value("reference_warm", "load_ms"), "1x; peak 1.05", bench("warm", "load", "read_ms"), "a plain read; " + memory("warm")),
    ("load of 2 GB in bf16, cold", bench("cold", "load"), value("reference_cold", "load_ms"), "aim 1.5x", bench("cold", "load", "read_ms"), "a plain read from disk"),
]


def machine():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith(("model name", "cpu family"))]
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if any(line.startswith("flags") and f in line.split() for line in open("/proc/cpuinfo"))]
    load = os.getloadavg()[0]
    return f"{names[1] if len(names) > 1 else names[0]} (family {names[0]}), {os.cpu_count()} cores, {', '.join(flags)}; load {load:.1f} at the end"


KINDS = ["f32_packed", "f32_own", "f32_mkl", "f32_onednn", "bf16_packed", "bf16_own", "bf16_onednn"]


def products():
    """Rows of [shape, GFLOP/s of each kind]."""
    speed = {}
    for run in read("products"):
        for b in run.get("benchmarks", []):
            _, kind, *shape = b["name"].split("/")[:5]
            if not b.get("error_occurred"):
                key = (" x ".join(shape), kind)
                speed[key] = max(speed.get(key, 0), b["best_GFLOP/s"])
    return [[shape] + [f"{speed[shape, kind]:.0f}" if (shape, kind) in speed else "-" for kind in KINDS] for shape in dict.fromkeys(shape for shape, _ in speed)]


cell = lambda x: f"{x:.2f}" if x is not None else "-"
ratio = lambda a, b: f"{b / a:.1f}x" if a and b else "-"
if markdown:
    print("# CPU speed against transformers\n")
    print(f"`tests/bench/compare.sh --markdown`, {datetime.date.today()}, commit {commit}. transformers 5.17.0 on torch 2.11.0, the same weights and inputs in one run; best of {rounds} alternating rounds,")
    print("one thread but for the sweep. Models: [reference_step.py](../../tests/bench/reference_step.py).")
    print(f"Machine: {machine()}.\n")
    print("*Bound*: what no program on this machine could do without, measured in the same run; products at the speed of the fastest one below, one thread.\n")
    print("| what | ours, ms | theirs, ms | ratio | wanted | bound, ms | ours over it | the bound is |\n|---|---|---|---|---|---|---|---|")
    for what, a, b, wanted, bound, kind in ROWS:
        print(f"| {what} | {cell(a)} | {cell(b)} | {ratio(a, b)} | {wanted} | {cell(bound)} | {ratio(bound, a)} | {kind} |")
    print("\n## Matrix products, GFLOP/s\n")
    print("`build/gemm_bench`: rows x columns x depth, one thread, best. Layers use *packed* (weights laid out on loading), the head and the embedding, which are read both ways, *own*; no shape is left")
    print("to MKL or to oneDNN through LibTorch.\n")
    print("| shape | " + " | ".join(k.replace("_", " ") for k in KINDS) + " |\n|" + "---|" * (len(KINDS) + 1))
    for row in products():
        print("| " + " | ".join(row) + " |")
else:
    print(f"{'':74}{'ours ms':>10}{'theirs ms':>11}{'ratio':>8}{'bound ms':>10}   wanted; the bound is")
    for what, a, b, wanted, bound, kind in ROWS:
        print(f"{what:74}{cell(a):>10}{cell(b):>11}{ratio(a, b):>8}{cell(bound):>10}   {wanted}; {kind}")
    print(f"best of {rounds} rounds; {machine()}; commit {commit}")
