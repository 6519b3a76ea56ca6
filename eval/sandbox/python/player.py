# Holds a program and calls its functions: {"source", "contest": bool} first, then {"call": name, "arguments"} after
# {"call": ...}. In a contest, values are JSON as its tests have them; else packed, so that any built-in value travels.
# Answers: {"ready": true}, {"value": ...}, {"error": "TypeError: ..."} or {"strange": why} when a value cannot travel.
def start():
    receive, send = make_channel()
    limit_tasks(64)
    sys.path.pop(0)
    setup = receive()
    contest = setup["contest"]
    if contest and hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(50000)
    module = type(sys)("program")
    module.__dict__["__builtins__"] = __builtins__
    target = module
    try:
        exec(compile((prelude() if contest else "") + setup["source"], "program.py", "exec"), module.__dict__)
        if contest and "class Solution" in setup["source"]:
            target = module.Solution()
        send({"ready": True})
    except BaseException as error:
        send({"error": described(error)})
        return
    encode, decode = (plain, lambda value: value) if contest else (packed, unpacked)
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
