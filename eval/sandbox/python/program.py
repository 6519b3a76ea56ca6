# Runs /box/program.py as python would: a module __main__ of its own, standard input and output as they are. Says {"ready": true}
# when it begins.
def start():
    import builtins

    limit_tasks(64)
    receive, send = make_channel()
    send({"ready": True})
    os.close(3)
    os.close(4)
    with open("/box/program.py", encoding="utf-8") as file:
        source = file.read()
    sys.argv = ["program.py"]
    sys.path.pop(0)
    kept = {name: value for name, value in globals().items() if name.startswith("__")}
    globals().clear()
    globals().update(kept, __file__="program.py", __builtins__=builtins)
    return compile(source, "program.py", "exec")


exec(start())
