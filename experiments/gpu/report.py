"""Joins what gpu_check.sh left in a folder: results.json with all raw measurements and where they come from, and table.md with pass, fail and ratios, which is also printed.
   python3 experiments/gpu/report.py DIR"""
import glob
import json
import os
import sys


def lines(path):
    """The JSON objects of a file, one a line; other lines are some library's chatter."""
    out = []
    for line in open(path, errors="replace"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            out.append(value)
    return out


def main(folder):
    context = json.load(open(os.path.join(folder, "context.json")))
    stages = {}
    for entry in lines(os.path.join(folder, "stages.jsonl")) if os.path.exists(os.path.join(folder, "stages.jsonl")) else []:
        stages[entry["stage"]] = entry  # the last run counts
    measured = []
    for path in sorted(glob.glob(os.path.join(folder, "*.jsonl"))):
        if os.path.basename(path) != "stages.jsonl":
            measured += lines(path)
    json.dump({"context": context, "stages": list(stages.values()), "measurements": measured}, open(os.path.join(folder, "results.json"), "w"), indent=1)
    by = {}
    for m in measured:
        if "what" in m and "by" in m and "us" in m:
            key = m["what"] + (f" (sharpness {m['sharpness']:g})" if "sharpness" in m else "")
            by.setdefault(key, {})[m["by"]] = m
    memory = by.get("memory", {})
    bandwidth = max((m["bytes"] / m["us"] * 1e6 for m in memory.values()), default=0)
    square = by.get("product 8192", {}).get("cublas")
    rate = square["flop"] / square["us"] * 1e6 if square else 0
    text = ["# GPU check", "", f"{context['device']}, {context['date']}, commit {context['commit'][:12]}, clocks {context['clocks']} (SM, memory, most SM; as found), driver {context['driver']}.", ""]
    text += ["| stage | result | seconds |", "|---|---|--:|"]
    text += [f"| {s['stage']} | {s['result']}{': ' + s['why'] if 'why' in s else ''} | {s.get('seconds', '')} |" for s in stages.values()]
    path = os.path.join(folder, "correctness.json")
    if os.path.exists(path):
        c = json.load(open(path))
        skipped = sum(t.get("result") == "SKIPPED" for suite in c["testsuites"] for t in suite["testsuite"])
        text += ["", f"Tests on the device: {c['tests']} in all, {c['failures']} failed, {skipped} skipped."]
        text += [f"- failed: {suite['name']}.{t['name']}" for suite in c["testsuites"] for t in suite["testsuite"] if t.get("failures")]
    if bandwidth:
        text += ["", f"Measured ceilings: {bandwidth / 1e12:.2f} TB/s" + (f", {rate / 1e12:.0f} TFLOP/s in bf16 (cuBLAS, 8192)" if rate else "") + ". Floor: the larger of bytes and operations over these.", ""]
    text += ["", "| what | by | us | spread | TB/s | TFLOP/s | time over floor | ours over it |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    for what, ways in by.items():
        ours = [m for name, m in ways.items() if name.startswith("ours")]
        for name, m in ways.items():
            floor = max(m["bytes"] / bandwidth if bandwidth else 0, m["flop"] / rate if rate else 0) * 1e6
            # Every other contender beside our bf16 kernel, or the only one there is.
            mine = next((o for o in ours if o["by"].split()[-1] in ("bf16", "ours")), ours[0] if ours else None)
            ratio = "" if mine is None or name.startswith("ours") else f"{mine['us'] / m['us']:.2f}"
            text.append(f"| {what} | {name} | {m['us']:.1f} | {m['least_us']:.1f}-{m['most_us']:.1f} | {m['bytes'] / m['us'] / 1e6:.2f} | {m['flop'] / m['us'] / 1e6:.0f} | " + (f"{m['us'] / floor:.2f}" if floor > 0 else "") + f" | {ratio} |")
    soft = [m for m in measured if "most_skipped" in m]
    if soft:
        text += ["", "| self-conditioning | sharpness | least | tokens kept | most mass left out | us |", "|---|--:|--:|--:|--:|--:|"]
        text += [f"| {m['what']} | {m['sharpness']:g} | {m['least']:g} | {m['kept']} | {m['most_skipped']:.2g} | {m['us']:.0f} |" for m in soft]
    canvases = [m for m in measured if "over_step" in m]
    if canvases:
        text += ["", "| whole canvases | by | steps | us a step | without the host | overlapping | over one step's kernels |", "|---|---|--:|--:|---|---|--:|"]
        text += [f"| {m['what']} | {m['by']} | {m['steps']} | {m['us']:.0f} | {'yes' if m['alone'] else 'no'} | {'yes' if m['overlapping'] else 'no'} | {m['over_step']:.3f} |" for m in canvases]
    report = "\n".join(text) + "\n"
    open(os.path.join(folder, "table.md"), "w").write(report)
    print(report)
    failed = [s["stage"] for s in stages.values() if s["result"] == "failed"]
    if failed:
        print("failed: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
