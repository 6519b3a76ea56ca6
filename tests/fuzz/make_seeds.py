"""Writes a seed corpus and a dictionary for every fuzz target from the tree's own files.

    make_seeds.py OUT [PROGRAM]     OUT/<target>/* and OUT/<target>.dict; PROGRAM (canvaslab) also makes a journal
"""
import base64
import json
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import tempfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = sorted((ROOT / "tests/network/goldens").iterdir())
# Where a target's words come from: the quoted literals of these files.
WORDS = {"safetensors": ["core/safetensors_header.cpp"], "gguf": ["core/gguf_header.cpp"], "config": ["core/network/model_config.cpp"], "tokenizer": ["core/text/*.cpp"], "template": ["core/text/jinja_*.cpp"],
         "sweep": ["eval/sweep_plan.cpp", "core/params.cpp"], "plugin": ["schedules/*.cpp"], "journal": ["eval/journal_plan.cpp"], "trace": [], "rows": ["eval/records.cpp"],
         "packed": ["eval/test_cases.cpp"], "imported": ["eval/imported_lines.cpp"], "check": ["eval/datasets/*.cpp"]}


def dictionary(patterns):
    words = set()
    for pattern in patterns:
        for path in ROOT.glob(pattern):
            words.update(w for w in re.findall(r'"([^"\\\n]{1,24})"', path.read_text(encoding="utf-8")) if re.fullmatch(r"[\x20-\x7e]+", w) and ".h" not in w and "{}" not in w)
    return "".join(f'"{word}"\n' for word in sorted(words))


def gguf():
    whole = (ROOT / "tests/network/quantised/gguf/model-mixed.gguf").read_bytes()
    head = whole[:whole.rindex(b"blk.") + 200]
    yield struct.pack(">H", (len(whole) - len(head)) // 16 + 1) + head
    yield struct.pack(">H", 9) + head[:400]


def safetensors():
    for folder in GOLDENS:
        path = folder / "model.safetensors"
        if not path.exists():
            continue
        whole = path.read_bytes()
        (length,) = struct.unpack("<Q", whole[:8])
        tensors = json.loads(whole[8:8 + length])
        few, at = {"__metadata__": {"format": "pt"}}, 0
        for name, info in sorted(tensors.items())[:4]:
            if name == "__metadata__":
                continue
            size = info["data_offsets"][1] - info["data_offsets"][0]
            if at + size > 65535:
                break
            few[name] = info | {"data_offsets": [at, at + size]}
            at += size
        text = json.dumps(few).encode()
        yield b"\1" + struct.pack(">H", at) + text
        yield b"\0" + struct.pack("<Q", len(text)) + text + bytes(min(at, 64))


def config():
    for folder in GOLDENS:
        if (folder / "config.json").exists():
            yield (folder / "config.json").read_bytes() + b"\0" + (folder / "generation_config.json").read_bytes()


def tokenizer():
    file = json.loads((ROOT / "tests/fixtures/text/gemma_like.json").read_text(encoding="utf-8"))
    # Few tokens: a mutation should hit structure more often than vocabulary.
    letters = [t for t in file["model"]["vocab"] if len(t) == 1][:40]
    merges = [m for m in file["model"]["merges"] if m[0] in letters and m[1] in letters][:20]
    tokens = ["<unk>", "<bos>", "<0x41>", "<0xC3>"] + letters + ["".join(m) for m in merges]
    small = dict(file, model=dict(file["model"], vocab={t: i for i, t in enumerate(dict.fromkeys(tokens))}, merges=merges), added_tokens=[
        {"id": 1, "content": "<bos>", "single_word": True, "lstrip": True, "rstrip": False, "normalized": True, "special": True}])
    split = {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"}, "behavior": "Isolated", "invert": False}
    meta = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True}
    variants = [
        {},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Prepend", "prepend": "x"}, {"type": "Strip", "strip_left": True, "strip_right": False}]}},
        {"normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]}, "decoder": {"type": "ByteLevel"}},
        {"pre_tokenizer": meta, "decoder": meta},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, {"type": "WhitespaceSplit"}]}, "decoder": {"type": "Strip", "content": " ", "start": 1, "stop": 0}},
    ]
    for variant in variants:
        yield json.dumps(dict(small, **variant), ensure_ascii=False).encode() + b"\0" + "aéx 12\n<bos>".encode()


def template():
    yield (ROOT / "tests/fixtures/text/gemma_like.jinja").read_bytes()
    # The templates that the engine's own test renders, one by one.
    for text in re.findall(r'(?:render|error_of)\("((?:[^"\\]|\\.)*)"', (ROOT / "tests/core/chat_template_test.cpp").read_text(encoding="utf-8")):
        yield text.encode().decode("unicode_escape").encode("utf-8", "replace") + b'\0{"x": [1, 2.5, "a"], "y": {"k": null}}'


def sweep():
    for path in sorted((ROOT / "experiments").glob("*.toml")):
        yield path.read_bytes() + b"\0run.repeats=3\0grid.steps=[2, 4]"
    yield b'[run]\nname = "a"\nseed = [1, 2]\nrecord = "positions"\nlimit = 3\n[denoiser]\nmodel = "uniform"\ndtype = "f32"\n[dataset]\nname = "prompts(path=x)"\nsubset = 2\n' \
          b'[[grid]]\nsampler = ["entropy_bound(0.1)", "cap(fixed_step, most=2)"]\nsteps = [2, 4]\ncanvas_length = [6, 8]\nstop = "any_of(stable_and_confident)"\ntop_p = [0.5, 1.0]\n' \
          b'[[grid]]\nsampler = "fixed_step"\nself_conditioning = [true, false, "stale(4)"]\n[reference]\nsampler = "entropy_bound"\nsteps = 8\n'
    yield b'[denoiser]\nmodel = "uniform"\n[[dataset]]\nname = "prompts(path=x)"\n[[dataset]]\nname = "prompts(path=y)"\nlabel = "other"\nsubset = 2\n[grid]\nsampler = "fixed_step"\n' \
          b'\0dataset.1.subset=3\0dataset.0.label=a'


def plugin():
    for path in sorted((ROOT / "experiments").glob("*.toml")):
        for text in re.findall(r'"([a-z_]+\([^"]*\))"', path.read_text()):
            yield text.encode()
    for name in re.findall(r'"([a-z_]+)"', " ".join(p.read_text() for p in sorted((ROOT / "schedules").glob("*.cpp")))):
        yield f"{name}(0.4, 0.8)".encode()
    yield b"thing(real=0.25, count=-3, flag=false, word=b, bound=cosine(0.05, 0.3), late=2, free='a \\' b')"


PLAN = '[denoiser]\nmodel = "hmm(states=2, alphabet=3)"\n[dataset]\nname = "source(items=3)"\nsubset = 2\n[grid]\nsampler = ["entropy_bound", "fixed_step"]\nsteps = 2\ncanvas_length = 3\n[run]\nrecord = "positions"\n'


def journal(program):
    if program is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        plan = pathlib.Path(folder) / "plan.toml"
        plan.write_text(PLAN)
        subprocess.run([program, "sweep", str(plan), "--threads", "1", "--quiet", "--out", folder + "/run"], check=True, stderr=subprocess.DEVNULL)
        whole = (pathlib.Path(folder) / "run/run.journal").read_bytes()
    yield b"\0" + whole
    built, at = b"\1", 8
    while at < len(whole):
        length, _, kind, _ = struct.unpack_from("<IIHH", whole, at)
        built += struct.pack(">BH", kind, length) + whole[at + 12:at + 12 + length]
        at += 12 + length
        yield built
    yield b"\6" + built[1:]


def published():
    """Data set, extension and text of a small file each."""
    gpqa = "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,High-level domain,Subdomain\r\n" \
           'r1,"Which, said\nhe?",right,"wro""ng",worse,worst,Physics,\r\nr2,And?,1,2,3,4,Biology,x'
    tests = json.dumps([{"input": "1 2\n", "output": "3", "testtype": "stdin"}])
    contest = {"question_title": "t", "question_content": "Add.", "platform": "p", "question_id": "q1", "contest_id": "c", "contest_date": "2025", "starter_code": "", "difficulty": "easy",
               "public_test_cases": tests, "private_test_cases": tests, "metadata": '{"func_name": "f"}'}
    yield 1, "csv", gpqa
    yield 2, "jsonl", json.dumps({"question_id": 1, "question": "2+2?", "options": ["3", "4", "N/A"], "answer": "B", "answer_index": 1, "cot_content": "", "category": "math", "src": "x"})
    yield 3, "jsonl", json.dumps({"problem_idx": 1, "problem": "x?", "answer": 11}) + "\n" + json.dumps({"problem_idx": 2, "problem": "y?", "answer": "012"})
    yield 4, "jsonl", json.dumps({"id": "1", "question": "x <image1>?", "options": ["1", "2", "3", "4", "5"], "answer": "C", "solution": None, "level": 2, "subject": "counting", "image": "i"})
    yield 5, "jsonl", json.dumps(contest) + "\n" + json.dumps(dict(contest, question_id="q2", private_test_cases=pack(pickle.dumps(tests, 4))))
    yield 6, "jsonl", json.dumps({"task_id": "T/0", "prompt": "def f(x):\n", "entry_point": "f", "canonical_solution": " return x\n", "test": "def check(c):\n assert c(1) == 1\n"})


def pack(pickled):
    return base64.b64encode(zlib.compress(pickled)).decode()


def rows():
    for _, kind, text in published():
        yield (b"\0" if kind == "csv" else b"\1") + text.encode()
        if kind != "csv":
            yield b"\2" + text.encode() + b"\n"
    yield b'\1{"canvaslab_records": 1, "dataset": "gpqa", "source": "x", "source_sha256": ""}\n{"canvaslab_records_end": 0}\n'
    yield b"\0\xef\xbb\xbfa,b\n\n\"x\",\"y\"\"\""


def packed():
    for protocol in range(2, 6):
        for text in ("", "[]", "x" * 300, "\u00e9\ud800"):
            pickled = pickle.dumps(text, protocol)
            yield b"\0" + pack(pickled).encode()
            yield b"\1" + pickled
    yield b"\2text \xc3\xa9"
    for _, _, text in published():
        if "private_test_cases" in text:
            for line in text.split("\n"):
                yield b"\3" + line.encode()


def imported():
    harness = {"doc_id": 0, "doc": {"q": "x", "key": "k1"}, "target": "4", "arguments": {}, "resps": [["so 4"]], "filtered_resps": ["4"], "filter": "strict-match", "metrics": ["exact_match"], "exact_match": 1.0,
               "doc_hash": "ab"}
    yield (json.dumps(harness) + "\n" + json.dumps(dict(harness, doc_id=1, exact_match=0))).encode()
    yield json.dumps(harness).encode() + b"\0key"
    yield b'{"id": "a", "completion": "x", "token_ids": [1, 2], "score": 0.5, "repeat": 1, "failed": false}\n{"id": 2, "completion": "", "token_ids": [], "score": null}\n'


def check():
    for number, kind, text in published():
        yield bytes([number | (8 if kind == "csv" else 0)]) + text.encode()
        yield bytes([8 if kind == "csv" else 0]) + text.encode()


def main():
    out, program = pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    makers = {"safetensors": safetensors, "gguf": gguf, "config": config, "tokenizer": tokenizer, "template": template, "sweep": sweep, "plugin": plugin, "journal": lambda: journal(program),
              "trace": lambda: iter([bytes(range(256))]), "rows": rows, "packed": packed, "imported": imported, "check": check}
    for target, make in makers.items():
        (out / target).mkdir(parents=True, exist_ok=True)
        (out / f"{target}.dict").write_text(dictionary(WORDS[target]))
        for i, seed in enumerate(make()):
            (out / target / f"seed{i:03}").write_bytes(seed)


main()
