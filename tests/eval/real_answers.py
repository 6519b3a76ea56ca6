"""Real answers and real questions that packages carry, with what independent graders make of them, one JSON object a line.

    python real_answers.py FOLDER SEED COUNT > answers.jsonl

FOLDER holds, as pip downloads them, llama_cpp_python-0.3.36.tar.gz (pip download --no-deps --no-binary :all:) and
evals-3.0.1.post1-py3-none-any.whl (pip download --no-deps). Needs lm-eval 0.4.13 and math-verify 0.9.0; installs nothing.
Nothing of the packages is committed. Kinds as in grading_oracle.py:
  whole  240 answers of a language model to 30 AIME problems, with the stored verdict (MIT)
  ten, four  COUNT answers each to exam questions of many languages (MIT code, data of their own terms): an option is chosen
         and the answer written in one of the styles that models use, around the question's own texts
"""
import html
import json
import random
import re
import sys
import tarfile
import zipfile
from pathlib import Path

from grading_oracle import ANSWER_COLON, ANSWER_IS, LAST_LETTER, SIMPLE_EVALS, aime, gpqa_filter, last_of, math_verify, mmlu_filter, searched


def aime_answers(folder):
    with tarfile.open(folder / "llama_cpp_python-0.3.36.tar.gz") as archive:
        member = next(m for m in archive.getmembers() if re.search(r"aime25_.*_allresults\.json$", m.name))
        runs = json.load(archive.extractfile(member))
    for page, turns in zip(runs["htmls"], runs["convos"]):
        field = lambda name: html.unescape(re.search(rf"<p>{name}: (.*?)</p>", page, re.S).group(1))  # noqa: E731
        text, gold = turns[-1]["content"], field("Correct Answer")
        yield {"kind": "whole", "text": text, "gold": gold, "lm_eval": aime.process_results({"answer": gold}, [text])["exact_match"], "math_verify": math_verify(gold, text),
               "stored": float(field("Score")) == 1, "stored_answer": field("Extracted Answer")}


def questions(folder):
    """(text, four options, the right letter, language) of every exam question with four options."""
    with zipfile.ZipFile(folder / "evals-3.0.1.post1-py3-none-any.whl") as archive:
        for name in sorted(archive.namelist()):
            found = re.search(r"data/([a-z]+)-exams-qa/samples\.jsonl$", name)
            for line in archive.read(name).decode().splitlines() if found else []:
                row = json.loads(line)
                parts = re.split(r"\n([A-Z])\. ", row["input"][-1]["content"].removesuffix("\nAnswer:"))
                right = re.fullmatch(r"\[([A-D])\]", str(row["ideal"]))
                if parts[1::2] == list("ABCD") and right and all(parts[2::2]):
                    yield parts[0], parts[2::2], right.group(1), found.group(1)


def answer(rng, text, options, letter):
    """An answer that ends in `letter`, with wrong letters and option texts on its way."""
    chosen, other = options[ord(letter) - 65], rng.choice(options)
    wrong = rng.choice("ABCD")
    lead = rng.choice(["", text + "\n", f"{wrong}. {other}? No.\n", f"Option ({wrong}) is wrong because {other}\n", f"**{other}** - {text[:80]}\n", "I think so. A closer look:\n"])
    return lead + rng.choice([f"The answer is ({letter}).", f"The answer is {letter}", f"Answer: {letter}", f"**Answer: {letter}**", f"Answer: {letter}) {chosen}", f"answer:\n{letter}", f"[{letter}]", f"\\boxed{{{letter}}}",
                              f"({letter}) {chosen}", chosen, f"So it must be {chosen}.", f"{letter}", f"The correct answer is {chosen}", f"The answer is **{letter}**", f"${letter}$"])


def exam_answers(folder, seed, count):
    everything = list(questions(folder))
    for kind in ("ten", "four"):
        rng = random.Random(f"{seed} real {kind}")
        rows = []
        for text, options, right, language in rng.sample(everything, count):
            given = answer(rng, text, options, right if rng.random() < 0.7 else rng.choice("ABCD"))
            rows.append({"kind": kind, "text": given, "options": options, "language": language})
        for row in rows:
            if kind == "ten":
                first = [searched(p, row["text"]) for p in (ANSWER_IS, ANSWER_COLON, LAST_LETTER)]
                last = [last_of(p, row["text"]) for p in (ANSWER_IS, ANSWER_COLON, LAST_LETTER)]
                row.update(lm_eval=mmlu_filter.apply([[row["text"]]], [{}])[0][0], official=next((x for x in first if x), ""), official_last=next((x for x in last if x), ""))
            else:
                row.update(simple_evals=searched(SIMPLE_EVALS, row["text"]))
        if kind == "four":
            for row, filtered in zip(rows, gpqa_filter.apply([[row["text"]] for row in rows], [{"choices": row["options"]} for row in rows])):
                row["lm_eval"] = filtered[0]
        yield from rows


def main():
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for row in aime_answers(folder):
        print(json.dumps(row, separators=(",", ":")))
    for row in exam_answers(folder, seed, count):
        print(json.dumps(row, separators=(",", ":")))


if __name__ == "__main__":
    main()
