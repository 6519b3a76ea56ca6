# Messages: 4 bytes of length, little-endian, then JSON. They come in at descriptor 3 and leave at descriptor 4. Whatever a
# program does to these functions, it can only spoil its own answers: nothing here knows what is right.
import json
import os
import resource
import sys


def limit_tasks(most):
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    except (ValueError, OSError):
        pass  # a stricter limit is in place


def make_channel(read=os.read, write=os.write, loads=json.loads, dumps=json.dumps):
    def exactly(size):
        parts = []
        while size:
            part = read(3, min(size, 1 << 20))
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def receive():
        head = exactly(4)
        body = exactly(int.from_bytes(head, "little")) if head else None
        return None if body is None else loads(body)

    def send(message):
        body = dumps(message).encode("ascii")
        data = memoryview(len(body).to_bytes(4, "little") + body)
        while data:
            data = data[write(4, data):]

    return receive, send


# Values of Python as JSON and back. Lists, texts, finite numbers, true, false and null stand for themselves; all else is
# {"kind": ..., "value": ...}. Only exact built-in types travel: an object with methods of its own does not.
def packed(value, depth=0):
    kind = type(value)
    if depth > 200:
        raise TypeError("nested too deeply")
    if value is None or kind in (bool, str, int):
        return value
    if kind is float:
        return value if value - value == 0 else {"kind": "float", "value": repr(value)}
    if kind is list:
        return [packed(v, depth + 1) for v in value]
    if kind in (tuple, set, frozenset):
        return {"kind": kind.__name__, "value": [packed(v, depth + 1) for v in value]}
    if kind is dict:
        return {"kind": "dict", "value": [[packed(k, depth + 1), packed(v, depth + 1)] for k, v in value.items()]}
    if kind in (bytes, complex):
        return {"kind": kind.__name__, "value": repr(value)}
    raise TypeError("a value of type " + kind.__name__ + " cannot leave the sandbox")


def unpacked(value):
    if type(value) is list:
        return [unpacked(v) for v in value]
    if type(value) is not dict:
        return value
    kind, inner = value["kind"], value["value"]
    if kind == "dict":
        return {unpacked(k): unpacked(v) for k, v in inner}
    if kind in ("tuple", "set", "frozenset"):
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](unpacked(v) for v in inner)
    if kind == "float":
        return float(inner)
    if kind == "complex":
        return complex(inner)
    if kind == "bytes":
        import ast

        return ast.literal_eval(inner)
    raise TypeError("an unknown kind of value")


def described(error):
    return (type(error).__name__ + ": " + str(error))[:500]


# What equals the JSON value of an expected output, and nothing else: no tuple but at the top, no set, no object.
def plain(value, top=True):
    kind = type(value)
    if value is None or kind in (bool, str, int):
        return value
    if kind is float:
        if value - value != 0:
            raise TypeError("a float that is no number")
        return value
    if kind is list or (top and kind is tuple):
        return [plain(v, False) for v in value]
    if kind.__name__ in ("dict", "defaultdict", "Counter", "OrderedDict") and kind.__module__ in ("builtins", "collections"):
        if any(type(key) is not str for key in value):
            raise TypeError("a dictionary whose keys are no texts")
        return {key: plain(v, False) for key, v in dict.items(value)}
    raise TypeError("a value of type " + kind.__name__)


# What contest programs may take for granted.
def prelude():
    names = "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json".split()
    starred = names + ["builtins", "typing"]
    return "".join(f"from {n} import *\n" for n in starred) + "".join(f"import {n}\n" for n in names) + "sys.setrecursionlimit(50000)\n"
