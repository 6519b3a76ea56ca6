"""Reads what `canvaslab export --format json` wrote with lm-evaluation-harness's own functions, and prints its table.

    python lm_eval_reader.py FOLDER

Needs lm-eval 0.4.13. Fails where that reader would: names it does not find, fields it misses, means that are not those of
the samples.
"""
import json
import math
import sys
from pathlib import Path

from lm_eval.utils import get_file_task_name, get_latest_filename, get_results_filenames, get_sample_results_filenames, make_table

folder = Path(sys.argv[1])
names = [str(path) for path in sorted(folder.iterdir())]
results, samples = get_results_filenames(names), get_sample_results_filenames(names)
assert results and len(samples) % len(results) == 0, names  # a file of samples for each data set of a run
assert get_latest_filename(results) in results
shown = set()
for sample_name in samples:
    result_name = next(name for name in results if Path(name).stem.split("_")[-1] == Path(sample_name).stem.split("_")[-1])
    result = json.loads(Path(result_name).read_text())
    task = get_file_task_name(Path(sample_name).name)
    if result_name not in shown:
        print(make_table(result))
        if result["groups"]:
            print(make_table(result, "groups"))
        shown.add(result_name)
    rows = [json.loads(line) for line in Path(sample_name).read_text().splitlines()]
    assert isinstance(result["date"], float) and isinstance(result["n-shot"][task], int)
    for row in rows:
        assert {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash"} <= row.keys()
        assert all(metric in row for metric in row["metrics"])
    for metric in rows[0]["metrics"]:
        by_item = {}
        for row in rows:
            if row[metric] is not None:
                by_item.setdefault(row["doc_id"], []).append(row[metric])
        means = [sum(values) / len(values) for values in by_item.values()]
        value, filtered = result["results"][task][f"{metric},{rows[0]['filter']}"], rows[0]["filter"]
        assert (value is None) == (not means), metric
        if means:
            assert math.isclose(value, sum(means) / len(means), rel_tol=1e-12, abs_tol=1e-12), (metric, value)
            assert isinstance(result["results"][task][f"{metric}_stderr,{filtered}"], (float, str))
print("read by lm-eval")
