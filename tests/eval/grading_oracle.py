"""Adversarial answers and what published graders make of them, one JSON object a line.

    python grading_oracle.py SEED COUNT > answers.jsonl

Needs lm-eval 0.4.13 and math-verify 0.9.0 (see CANVASLAB_GRADING_PYTHON in grading_oracle_test.cpp); installs nothing.
Kinds, a quarter of COUNT each:
  ten    MMLU-Pro: lm-eval's filter, and the three rules of the benchmark's own scripts run by Python's re
  four   GPQA: lm-eval's flexible-extract, and simple-evals' rule run by Python's re
  whole  AIME: lm-eval's process_results, and math-verify
  math   pairs of expressions: math-verify's verdict, and their values by sympy
The recorded file tests/fixtures/grading/oracle.jsonl.gz is what `20261124 4000` prints.
"""
import importlib.metadata
import importlib.util
import json
import logging
import random
import re
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
from lm_eval.filters.extraction import MultiChoiceRegexFilter, RegexFilter  # noqa: E402
from math_verify import parse, verify  # noqa: E402


def lm_eval_file(path):
    """A task file of lm-eval. Its task package would ask for the datasets library."""
    return next(f for f in importlib.metadata.files("lm-eval") if str(f) == path).locate()


def pattern_of(path, which):
    """The which-th uncommented regex_pattern of a task file."""
    return re.findall(r"^\s*regex_pattern: *(['\"])(.*)\1", open(lm_eval_file(path)).read(), re.M)[which][1].replace("\\\\", "\\")


spec = importlib.util.spec_from_file_location("aime_utils", lm_eval_file("lm_eval/tasks/aime/utils.py"))
aime = importlib.util.module_from_spec(spec)
spec.loader.exec_module(aime)
mmlu_filter = RegexFilter(pattern_of("lm_eval/tasks/mmlu_pro/_default_template_yaml", 0))
gpqa_filter = MultiChoiceRegexFilter(pattern_of("lm_eval/tasks/gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml", 1), group_select=-1,
                                     ignore_case=True, ignore_punctuation=True)

ANSWER_IS = re.compile(r"answer is \(?([A-J])\)?")
ANSWER_COLON = re.compile(r".*[aA]nswer:\s*([A-J])")
LAST_LETTER = re.compile(r"\b[A-J]\b(?!.*\b[A-J]\b)", re.DOTALL)
SIMPLE_EVALS = re.compile(r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?")

WORDS = ["answer is ", "The answer is (", "the answer is", "Answer is ", "Answer:", "answer: ", "answer:\n", "nswer: ", "ANSWER : ", "An\u017fwer: $",
         "Answer\t:", "aanswer: ", "A", "B", "C", "D", "E", "J", "K", "I", "b", "d", "(A)", "(B)", "(D)", "(F)", "(Z)", "(a)", " ", " ", " ", "\n", "\n\n",
         "\t", "\u00a0", "\u2003", "\x1c", "\u0085", "**", "*", "_", ".", ",", ":", ": ", ";", "A_", "A1", "1A", "\u00c1", "A\u0301", "\u00b2A", "\u0663", "A\u4e2d",
         "I think ", "a function ", "Both ", "because ", "-", "(", ")", "$", "{", "}", "\\boxed{", "\\boxed{A}", "\\text{C}", "\U0001f600A", "\u0130"]
OPTIONS = ["Guilty", "guilty of romance", "3.5 eV", "35 ev", "- 5", "5", "NaCl", "NaCl (aq)", "\u03b1-helix", "\u0391-HELIX", "\u0130on", "a", "x\u00b2",
           "...", "aba", "ababa", "ab", "\u00e9t\u00e9", "SN2 reaction", "sn2", "O\u03a3"]
NUMBERS = ["42", "042", "7", "007", "1,234", "12,34", "999", "1000", "0", "-7", "-0", "3.5", "42.0", "42.", "3/4", "84/2", "1_0", "\u0663", "5!", "2^5", "\\frac12", "\\frac{84}{2}",
           "\\frac1", "\\frac", "\\sqrt", "\\sqrt4", "\\sqrt{4}", "0.5", ".5", " .5", "{.5", "x=42", "xyz=42", "n = 7", "a=b=42", "\\text{ units}", "\\text{cm}", "\\!", "\\\\", "\\%",
           "%", "\\$", "$", "^\\circ", "^{\\circ}", "\\left(", "\\right)", "\\dfrac{1}{2}", "tfrac", "/", "+42", "42/1", "4 2", "1{,}234", "\\frac\u00e9\u00e9", "\\sqrt\u00e9"]
FRAME = ["\\boxed{", "\\boxed{", "}", "}", "{", "\\fbox{", "\\boxed ", "\\boxed", "$", "$", "So ", "\n", " ", "the sum is ", ".", ", ", "=", "(", ")", "\\{", "\\}"]


def searched(pattern, text):
    match = pattern.search(text)
    return match.group(match.lastindex or 0) if match else ""


def last_of(pattern, text):
    found = pattern.findall(text)
    return found[-1] if found else ""


def mixed(rng, words, least, most):
    return "".join(rng.choice(words) for _ in range(rng.randint(least, most)))


def ten(rng):
    text = mixed(rng, WORDS, 0, 14)
    chain = [ANSWER_IS, ANSWER_COLON, LAST_LETTER]
    first = [searched(p, text) for p in chain]
    last = [last_of(p, text) for p in chain]
    return {"text": text, "lm_eval": mmlu_filter.apply([[text]], [{}])[0][0], "official": next((x for x in first if x), ""),
            "official_last": next((x for x in last if x), "")}


def four(rng):
    options = [rng.choice(OPTIONS) if rng.random() < 0.9 else mixed(rng, ["a", "b", " ", "."], 1, 4) for _ in range(4)]
    words = WORDS + options * 6 if rng.random() < 0.5 else [w for w in WORDS if "(" not in w] + options * 6
    text = mixed(rng, words, 0, 12)
    return {"text": text, "options": options, "simple_evals": searched(SIMPLE_EVALS, text)}


def math_verify(gold, answer):
    # Its limits are wall time: short ones make other verdicts on a busy machine.
    return verify(parse(f"${gold}$", parsing_timeout=60), parse(answer, parsing_timeout=60), timeout_seconds=60)


def whole(rng):
    gold = rng.choice(["42", "7", "0", "999", "204", "5"])
    shape = rng.random()
    if shape < 0.4:
        text = mixed(rng, FRAME + NUMBERS, 0, 12)
    elif shape < 0.6:
        text = mixed(rng, NUMBERS + [gold] * 8, 1, 2)
    else:
        text = mixed(rng, ["So ", "we get ", "\n", "$x=3$ ", "\\boxed{9} "], 0, 3) + "\\boxed{" + mixed(rng, NUMBERS + [gold] * 20, 1, 2) + "}" + rng.choice(["", ".", "$", "\n", " done 3"])
    return {"text": text, "gold": gold, "lm_eval": aime.process_results({"answer": gold}, [text])["exact_match"], "math_verify": math_verify(gold, text)}


def expression(rng, depth=0):
    """LaTeX that both sides know. Left out is what math-verify 0.9.0 itself misreads or does not read: "(2)(4)", which
    it takes for 2+4 as if it were a mixed number, and thousands commas inside a longer expression."""
    n = str(rng.randint(1, 20))
    if depth > 0:
        return n
    sub = lambda: expression(rng, depth + 1)  # noqa: E731
    return rng.choice([
        lambda: n, lambda: n, lambda: f"{rng.randint(0, 99)}.{rng.randint(0, 999)}", lambda: "\\pi", lambda: f"\\frac{{{sub()}}}{{{sub()}}}",
        lambda: f"\\dfrac{{{n}}}{{{rng.randint(1, 9)}}}", lambda: f"{n}/{rng.randint(1, 9)}", lambda: f"\\sqrt{{{sub()}}}", lambda: f"\\sqrt[{rng.randint(2, 5)}]{{{sub()}}}",
        lambda: f"{n}\\sqrt{{{rng.randint(2, 9)}}}", lambda: f"{n}\\pi", lambda: f"{n}(\\pi+{rng.randint(1, 9)})", lambda: f"{sub()}+{sub()}", lambda: f"{sub()}-{sub()}",
        lambda: f"{sub()}\\cdot {sub()}", lambda: f"{sub()}\\times {sub()}", lambda: f"({sub()})^{rng.randint(2, 3)}", lambda: f"2^{{{rng.randint(1, 9)}}}", lambda: f"{rng.randint(1, 9)}!",
        lambda: f"{n}\\frac{{1}}{{{rng.randint(2, 9)}}}", lambda: f"\\sin({n})", lambda: f"\\cos(\\frac{{{n}}}{{7}})", lambda: f"\\ln({sub()})", lambda: f"\\log_{{{rng.randint(2, 9)}}}({n})",
        lambda: f"-{n}", lambda: f"\\left({sub()}\\right)", lambda: f"{n}\\%", lambda: f"1,{rng.randint(100, 999)}" if depth == 0 else n, lambda: f"\\tan(\\frac{{\\pi}}{{{rng.randint(3, 9)}}})",
    ])()


def value_of(text):
    try:
        parsed = parse(f"${text}$", parsing_timeout=60)
        value = complex(parsed[0].doit().evalf(25)) if parsed and not isinstance(parsed[0], str) else None
    except Exception:
        return None
    return value.real if value is not None and value.imag == 0 and abs(value.real) < 1e15 and value.real == value.real else None


def math(rng):
    gold = expression(rng)
    value = value_of(gold)
    answer = gold
    change = rng.random()
    if change < 0.2 and value is not None:
        answer = f"{value:.{rng.randint(0, 6)}f}"
    elif change < 0.4:
        answer = rng.choice([gold.replace("\\frac", "\\dfrac"), gold.replace("\\cdot ", "\\times "), gold.replace("\\left", "").replace("\\right", ""), f" {gold} ", f"x={gold}", f"({gold})"])
    elif change < 0.8:
        answer = expression(rng)
    elif change < 0.9 and value is not None:
        answer = f"{value + rng.choice([0.003, 0.004999, 0.01, -1]):.6f}"
    return {"gold": gold, "answer": answer, "value_gold": value, "value_answer": value_of(answer), "math_verify": math_verify(gold, f"\\boxed{{{answer}}}")}


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    for kind in (ten, four, whole, math):
        rng = random.Random(f"{seed} {kind.__name__}")
        rows = [{"kind": kind.__name__, **kind(rng)} for _ in range(count // 4)]
        if kind is four:  # all at once: each call makes a table of every punctuation character
            for row, filtered in zip(rows, gpqa_filter.apply([[row["text"]] for row in rows], [{"choices": row["options"]} for row in rows])):
                row["lm_eval"] = filtered[0]
        for row in rows:
            print(json.dumps(row, separators=(",", ":")))


if __name__ == "__main__":
    main()
