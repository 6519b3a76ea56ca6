"""What LiveCodeBench's own runner says about programs: a check on the column 'official' of contest_programs.jsonl.

    python contest_oracle.py TESTING_UTIL.py contest_programs.jsonl       (Python 3.11 with numpy)

Runs each program with the published runner, without any sandbox: the programs of that file are ours and harmless.
Prints one JSON object a line: {"name", "official": passed or failed}.
"""
import importlib.util
import json
import multiprocessing
import sys


def judge(path, row, out):
    sys.set_int_max_str_digits(50000)
    spec = importlib.util.spec_from_file_location("testing_util", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sample = {"inputs": [c[0] for c in row["cases"]], "outputs": [c[1] for c in row["cases"]], "fn_name": row["function"] or None}
    results, _ = module.run_test({"input_output": json.dumps(sample)}, test=row["program"], timeout=6)
    out.put(bool(results) and all(r is True or r > 0 for r in results))


if __name__ == "__main__":
    for line in open(sys.argv[2]):
        row = json.loads(line)
        queue = multiprocessing.Queue()
        process = multiprocessing.Process(target=judge, args=(sys.argv[1], row, queue))
        process.start()
        process.join(7 * len(row["cases"]) + 5)
        process.kill()
        passed = not queue.empty() and queue.get()
        print(json.dumps({"name": row["name"], "official": "passed" if passed else "failed"}), flush=True)
