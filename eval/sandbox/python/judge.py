# Unit tests whose candidate runs in another sandbox: {"source", "tests", "entry"} first; then {"call", "arguments"} goes out for each
# call and its answer comes back; {"passed": bool, "why"} ends it. Nothing untrusted runs here but the data set's own tests.
def start():
    receive, send = make_channel()
    limit_tasks(64)
    setup = receive()
    module = {"__name__": "tests"}

    def candidate(*arguments):
        send({"call": setup["entry"], "arguments": [packed(a) for a in arguments]})
        answer = receive()
        if "value" not in answer:
            raise RuntimeError(answer.get("error") or answer.get("strange") or "no answer")
        return unpacked(answer["value"])

    try:
        exec(compile(setup["source"], "prompt.py", "exec"), module)
        module[setup["entry"]] = candidate  # some tests call it by its own name
        exec(compile(setup["tests"], "tests.py", "exec"), module)
        module["check"](candidate)
    except BaseException as error:
        send({"passed": False, "why": (type(error).__name__ + ": " + str(error))[:500]})
    else:
        send({"passed": True, "why": ""})


if __name__ == "__main__":
    start()
