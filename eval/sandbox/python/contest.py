# Runs a program as LiveCodeBench's own runner does, idiosyncrasies included, one input at a time: {"source", "timeout",
# "function"} first ("function" empty: standard input), then {"input": text} for each test. Answers {"ready": true}, {"output": text} or
# {"value": ...}, {"error": why, "timeout": bool}, {"strange": why}. All tests share this process, as they do there.
# Behaviour: LiveCodeBench lcb_runner/evaluation/testing_util.py at 28fef95, described in evaluation.md 2.2.
import ast
import builtins
import io
import signal


class TimeoutException(Exception):
    pass


def on_alarm(number, frame):
    raise TimeoutException


# Functions that the runner takes away from programs, and modules that it hides.
def take_away():
    for name in ("kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace unlink fchmod fchown chmod chown chroot lchflags lchmod lchown "
                 "getcwd chdir").split():
        setattr(os, name, None)
    builtins.quit = builtins.help = None
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None


def is_main_test(statement):
    return isinstance(statement, ast.If) and ast.unparse(statement.test).strip() == "__name__ == '__main__'"


def unparsed(statements):
    return "\n".join(ast.unparse(statement) for statement in statements)


# Standard input mode: imports first, all else the body of one function. Text that does not parse stays as it is.
def wrapped(source):
    try:
        statements = ast.parse(source).body
        if statements and is_main_test(statements[-1]):
            statements = ast.parse(unparsed(statements[:-1]) + "\n" + unparsed(statements[-1].body)).body
        imports = [s for s in statements if isinstance(s, (ast.Import, ast.ImportFrom))]
        others = [s for s in statements if not isinstance(s, (ast.Import, ast.ImportFrom))]
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        function = ast.FunctionDef(name="wrapped_function", args=nothing, body=others, decorator_list=[], lineno=-1)
        return prelude() + "\n" + unparsed(imports) + "\n" + ast.unparse(function)
    except Exception:
        return source


# sys.stdin of a program: whole text as often as asked for, and a buffer that knows only its first line.
class Bytes:
    def __init__(self, text):
        self.text = text.encode("utf-8")

    def read(self, *_):
        return self.text

    def readline(self, *_):
        return self.text.split(b"\n")[0] + b"\n"


class Input:
    def __init__(self, text):
        self.text = text
        self.lines = io.StringIO(text)
        self.buffer = Bytes(text)

    def read(self, *_):
        return self.text

    def readline(self, *given):
        return self.lines.readline(*given)

    def readlines(self, *_):
        return self.text.split("\n")

    def __getattr__(self, name):
        return getattr(self.lines, name)


# The true sys.stdin, which a program may have imported by name, answers as well while a test runs.
def run_on(function, text):
    true_input, true_output, true_open = sys.stdin, sys.stdout, builtins.open
    rest = iter(text.split("\n"))
    replaced = {"read": lambda *_: text, "readlines": lambda *_: text.split("\n"), "readline": lambda *_: next(rest)}
    captured = sys.stdout = io.StringIO()
    captured.close = lambda _: 1
    for name, action in replaced.items():
        setattr(true_input, name, action)
    sys.stdin = Input(text)
    builtins.open = lambda *_, **__: io.StringIO(text)
    try:
        function()
    except SystemExit:
        pass
    finally:
        signal.alarm(0)
        builtins.open, sys.stdin, sys.stdout = true_open, true_input, true_output
        for name in replaced:
            delattr(true_input, name)
    return captured.getvalue()


def start():
    receive, send = make_channel()
    limit_tasks(64)
    sys.path.pop(0)
    setup = receive()
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(50000)
    source, timeout, name = setup["source"], setup["timeout"], setup["function"]
    signal.signal(signal.SIGALRM, on_alarm)
    take_away()
    module = type(sys)("tmp_sol", "")
    try:
        code = prelude() + "\n\n" + source if name else wrapped(source)
        signal.alarm(timeout)
        exec(code, module.__dict__)
        target = module.Solution() if "class Solution" in code else module
        signal.alarm(0)
        function = getattr(target, name or "wrapped_function")
    except Exception as error:
        return send({"error": described(error), "timeout": False})
    send({"ready": True})
    while (request := receive()) is not None:
        arguments = [json.loads(line) for line in request["input"].split("\n")] if name else []
        try:
            signal.alarm(timeout)
            value = function(*arguments) if name else run_on(function, request["input"])
            signal.alarm(0)
        except Exception as error:
            signal.alarm(0)
            send({"error": described(error), "timeout": "timeoutexception" in repr(error).lower()})
            continue
        if not name:
            send({"output": value})
            continue
        try:
            answer = {"value": plain(value)}
        except Exception as error:
            answer = {"strange": described(error)}
        send(answer)


if __name__ == "__main__":
    start()
