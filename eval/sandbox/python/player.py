# Holds a program and calls its functions: {"source", "solution": bool, "plain": bool} first, then {"call": name, "arguments"} after
# {"call": ...}. With "plain", values are JSON as a contest's test has them; else packed, so that any built-in value travels.
# Answers: {"ready": true}, {"value": ...}, {"error": "TypeError: ..."} or {"strange": why} when a value cannot travel.
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


def start():
    receive, send = make_channel()
    limit_tasks(64)
    sys.path.pop(0)
    setup = receive()
    if setup.get("digits"):
        sys.set_int_max_str_digits(setup["digits"])
    module = type(sys)("program")
    module.__dict__["__builtins__"] = __builtins__
    target = module
    try:
        exec(compile(setup["source"], "program.py", "exec"), module.__dict__)
        if setup["solution"]:
            target = module.Solution()
        send({"ready": True})
    except BaseException as error:
        send({"error": described(error)})
        return
    encode, decode = (plain, lambda value: value) if setup["plain"] else (packed, unpacked)
    while True:
        request = receive()
        if request is None:
            return
        try:
            value = getattr(target, request["call"])(*[decode(a) for a in request["arguments"]])
        except Exception as error:
            answer = {"error": described(error)}
        else:
            try:
                answer = {"value": encode(value)}
            except Exception as error:
                answer = {"strange": described(error)}
        send(answer)


if __name__ == "__main__":
    start()
