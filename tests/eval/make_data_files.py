"""Miniature data files in the published formats, by writers that are not ours: csv, json, pickle, zlib, pyarrow.

    python make_data_files.py FOLDER

Every question is our own invention. Writes the files, and expected.json: what a reader must find in each.
Quirks, file by file:
  csv_*      line breaks, commas, doubled quotes, tabs, non-ASCII and text like NA, None, nan inside fields; LF and CRLF; with
             and without a byte order mark; everything quoted or only what must be; a last line without a line end
  mmlu_*     question_id int64, list<string> options of 3 to 10 entries, N/A padding, white space at the right option, cot_content
             empty outside validation; each codec; dictionary, large_string and string_view columns; one row a row group; data
             page v2; a slice written with an offset; nullable columns
  aime_*     answer as int64, int32 or string with leading zeros; problem_type as list or missing
  math_*     options of 0 or 5 entries, solution null, decoded_image as struct with bytes or null bytes
  he         HumanEval, gzipped
  questions  questions and answers as the data set jsonl takes them
  lcb        private tests plain, and packed with pickle protocols 2 to 5, short, over 64 KiB (outside any frame), non-ASCII and
             with a lone surrogate; functional and standard input
"""
import base64
import csv
import gzip
import io
import json
import os
import pickle
import sys
import zlib

if os.environ.get("CANVASLAB_ARROW"):
    sys.path.insert(0, os.path.dirname(os.environ["CANVASLAB_ARROW"]))  # the unpacked wheel
folder = sys.argv[1]
expected = {}


def at(name):
    return os.path.join(folder, name)


# --- CSV as GPQA's
def gpqa_rows():
    for i in range(7):
        yield {
            "Record ID": f"rec{i:03}",
            "Question": ["Which ion has the electron configuration of argon?", 'He said: "why,\nnot?"\r\nand left', "NA", " leading and trailing ", "Größe \u03b1\u2192\u03b2 \U0001f600, $x_{1}$",
                         "nan", 'quote " inside, comma'][i],
            "Correct Answer": ["K+", "None", '""', "a,b", "tab\there", "same", "x"][i],
            "Incorrect Answer 1": "Na+", "Incorrect Answer 2": ["F-", "same"][i == 5], "Incorrect Answer 3": "Mg2+\n",
            "High-level domain": ["Chemistry", "Physics", "Biology"][i % 3], "Subdomain": "", "Writer's Difficulty Estimate": "Hard (undergraduate)?", "Canary String": ""}


rows = list(gpqa_rows())
expected["csv"] = rows
for name, options, encoding in (("minimal_lf", {"lineterminator": "\n"}, "utf-8"), ("all_crlf", {"quoting": csv.QUOTE_ALL}, "utf-8"), ("minimal_bom", {}, "utf-8-sig"),
                                ("nonnumeric", {"quoting": csv.QUOTE_NONNUMERIC, "lineterminator": "\n"}, "utf-8")):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), **options)
    writer.writeheader()
    writer.writerows(rows)
    body = text.getvalue()
    with open(at(f"csv_{name}.csv"), "wb") as out:
        out.write((body.rstrip("\r\n") if name == "nonnumeric" else body).encode(encoding))

# --- HumanEval's, gzipped as it is published, and a plain list of questions
with gzip.open(at("he.jsonl.gz"), "wt") as out:
    for i in range(4):
        out.write(json.dumps({"task_id": f"Own/{i}", "prompt": f"def times(x):\n    \"\"\"{i} times x.\"\"\"\n", "entry_point": "times", "canonical_solution": f"    return {i} * x\n",
                              "test": f"def check(candidate):\n    assert candidate(7) == {7 * i}\n"}) + "\n")
with open(at("questions.jsonl"), "w") as out:
    for i in range(6):
        out.write(json.dumps({"id": f"own{i}", "prompt": f"What is {i} + 2?", "answer": str(i + 2), "category": ["odd", "even"][i % 2]}) + "\n")

# --- LiveCodeBench's packed tests
def shown(text):
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


packed = []
texts = ["short", "x" * 200, "y" * 70000, "\u00e9\u4e2d\U0001f600 " * 40, "lone \ud800 surrogate", ""]
with open(at("lcb.jsonl"), "w") as out:
    for protocol in (2, 3, 4, 5):
        for i, text in enumerate(texts):
            cases = [{"input": text, "output": text[::-1][:50], "testtype": "stdin"}]
            functional = i % 2 == 1
            row = {"question_title": "t", "question_content": f"Print the input backwards ({protocol}, {i}).", "platform": "atcoder", "question_id": f"p{protocol}_{i}", "contest_id": "c",
                   "contest_date": "2025-01-01T00:00:00", "starter_code": "class Solution:" if functional else "", "difficulty": ["easy", "medium", "hard"][i % 3],
                   "public_test_cases": json.dumps([{"input": "1", "output": "1", "testtype": "stdin"}]),
                   "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases, ensure_ascii=i < 3), protocol))).decode() if protocol > 2 or i else json.dumps(cases),
                   "metadata": json.dumps({"func_name": "reverse"} if functional else {})}
            out.write(json.dumps(row) + "\n")
            packed.append({"id": row["question_id"], "function": "reverse" if functional else "", "inputs": ["1", shown(text)], "outputs": ["1", shown(text[::-1][:50])]})
expected["lcb"] = packed
class Harmful:  # noqa: E302
    def __reduce__(self):
        return (print, ("run",))


expected["refused_pickles"] = [base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()
                               for value in (Harmful(), ["a"], {"a": "b"}, 7, b"bytes", None, ("a", "b")) for protocol in (0, 1, 2, 4, 5)]

# --- Parquet, where pyarrow is
try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    pa = None
if pa:
    letters = "ABCDEFGHIJ"
    mmlu = []
    for i in range(12):
        count = 3 + i % 8
        options = [f" option {j}" if j == i % count and i % 3 == 0 else f"option {j}" for j in range(count)]
        mmlu.append({"question_id": 70 + i, "question": f"Question {i}: what is {i} + 1?\nSecond line \u2264 \U0001f600", "options": options + ["N/A"] * (i % 2 and 10 - count),
                     "answer": letters[i % count], "answer_index": i % count, "cot_content": "", "category": ["math", "law"][i % 2], "src": "ours"})
    shots = [{"question_id": 900 + i, "question": f"Example {i}?", "options": ["x", "y", "z"], "answer": letters[i % 3], "answer_index": i % 3,
              "cot_content": f"A: Let's think step by step. It is {i}. The answer is ({letters[i % 3]}).", "category": ["math", "law"][i % 2], "src": "ours"} for i in range(10)]
    schema = pa.schema([("question_id", pa.int64()), ("question", pa.string()), ("options", pa.list_(pa.string())), ("answer", pa.string()), ("answer_index", pa.int64()),
                        ("cot_content", pa.string()), ("category", pa.string()), ("src", pa.string())])
    table = pa.Table.from_pylist(mmlu, schema)
    expected["mmlu"] = mmlu
    variants = {codec: (table, {"compression": codec}) for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4")}
    variants["row_groups"] = (table, {"row_group_size": 1})
    variants["pages_v2"] = (table, {"data_page_version": "2.0", "use_dictionary": False})
    variants["sliced"] = (pa.concat_tables([table.slice(0, 0), pa.Table.from_pylist(mmlu[:2] * 3 + mmlu, schema).slice(6)]), {})
    variants["large"] = (table.cast(pa.schema([(f.name, pa.large_list(pa.large_string()) if f.name == "options" else pa.large_string() if f.type == pa.string() else f.type) for f in schema])), {})
    variants["dictionary"] = (table.set_column(6, "category", table["category"].dictionary_encode()), {})
    variants["views"] = (table.set_column(1, "question", table["question"].cast(pa.string_view())), {})
    for name, (value, options) in variants.items():
        pq.write_table(value, at(f"mmlu_{name}.parquet"), **options)
    expected["mmlu_files"] = [f"mmlu_{name}.parquet" for name in variants]
    pq.write_table(pa.Table.from_pylist(shots, schema), at("mmlu_validation.parquet"))

    problems = [{"problem_idx": i + 1, "problem": f"Let $S$ be the sum of {i} and 11. Find $S$.", "answer": 11 + i} for i in range(5)]
    pq.write_table(pa.Table.from_pylist(problems), at("aime_int64.parquet"))
    pq.write_table(pa.Table.from_pylist([dict(p, answer=f"{p['answer']:03}", problem_type=["Algebra"]) for p in problems]), at("aime_string.parquet"))
    pq.write_table(pa.Table.from_pylist(problems, pa.schema([("problem_idx", pa.int32()), ("problem", pa.string()), ("answer", pa.int32())])), at("aime_int32.parquet"))
    expected["aime_files"] = ["aime_int64.parquet", "aime_string.parquet", "aime_int32.parquet"]

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    figures = [{"id": str(i), "question": "What is 3 + 4?" if i == 2 else f"How many squares does <image1> show ({i})?", "options": [] if i % 2 else list("ABCDE") if i == 4 else ["4", "6", "8", "10", "12"],
                "answer": "7" if i % 2 else "C", "solution": None if i % 2 else "Count.", "level": 1 + i % 5, "subject": "counting", "image": f"images/{i}.jpg",
                "decoded_image": {"bytes": None if i == 3 else bytes(range(256)) * 4, "path": f"{i}.jpg"}} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(figures, pa.schema([("id", pa.string()), ("question", pa.string()), ("options", pa.list_(pa.string())), ("image", pa.string()), ("answer", pa.string()),
                                                            ("solution", pa.string()), ("level", pa.int64()), ("subject", pa.string()), ("decoded_image", image)])), at("math_vision.parquet"))

with open(at("expected.json"), "w") as out:
    json.dump(expected, out)
