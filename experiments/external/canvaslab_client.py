"""Samplers, stop rules and denoisers in Python for CanvasLab's external(command=...). One file, no dependencies.

    import canvaslab_client as canvaslab

    class Confident(canvaslab.Sampler):
        statistics = ["candidate"]           # only what is asked for is computed and sent
        facts = ["revocable"]

        def __init__(self, threshold=0.9):   # from parameters="threshold=0.8"
            self.threshold = threshold

        def step(self, view, state):
            return [canvaslab.TAKE if math.exp(view.candidate_logprob[p]) > self.threshold or view.is_last else canvaslab.NOISE
                    for p in range(view.length)]

    canvaslab.serve(Confident)

    canvaslab generate --model 'hmm(states=16)' --sampler 'external(command="python3 confident.py", parameters="threshold=0.8")'
    canvaslab check --kind sampler 'external(command="python3 confident.py")'

Arrays are memoryviews: they can be indexed, sliced and iterated, and numpy.asarray(view.entropy_nats) or
torch.frombuffer take them without a copy. print() goes to standard error, as standard output carries the answers.
The protocol: core/external_protocol.h. Rules: an object holds configuration only. What a canvas must remember goes into
state.revealed and state.scratch, because the next step may be answered by another process. Randomness comes from
view.uniform alone, so that results do not depend on processes.
"""
import os
import struct
import sys
import traceback

KEEP, TAKE, TAKE_BEST, NOISE, TOKEN = range(5)  # actions: the canvas token, the candidate, the argmax, fresh noise, a given token

# Bits of the statistics, each with its fields and their types, in the order in which they come.
_STATISTICS = [("max", [("argmax", "i"), ("argmax_logprob", "f")]), ("top2", [("second", "i"), ("second_logprob", "f")]),
               ("entropy", [("entropy_nats", "f")]), ("candidate", [("candidate", "i"), ("candidate_logprob", "f")]),
               ("current", [("current_logprob", "f")]), ("untempered", [("argmax_logprob_t1", "f"), ("entropy_t1_nats", "f")]),
               ("divergence", [("kl_nats", "f")]), ("alternative", [("alternative", "i")])]


class Sampler:
    """Override step; the class attributes are what it says of itself (core/external_protocol.h)."""
    kind = "sampler"
    statistics = []          # of: max top2 entropy candidate current untempered divergence alternative
    draws = []               # of: route position_key own; view.uniform[name] then holds L numbers in (0, 1)
    facts = []               # of: needs_level revocable locks edits_only fixed_steps ordered product_law uniform_only
    min_accepted = 0         # at least so many open positions are taken at every step
    default_stop = "never"
    default_emission = ""    # argmax, canvas, or what the denoiser prefers

    def step(self, view, state):
        """L actions, or (actions, tokens). May change state.revealed (L bytes) and state.scratch (a list of floats)."""
        raise NotImplementedError


class StopRule:
    kind = "stop_rule"
    statistics = []
    draws = []
    facts = []               # of: breaks_level
    history = 0              # so many earlier argmax canvases come as view.history; -1: all

    def check(self, view):
        """False or None to go on; True or a reason to stop. view.action and view.revealed are what the sampler decided."""
        raise NotImplementedError


class Denoiser:
    kind = "denoiser"
    vocabulary = 0           # must be set
    facts = []               # of: uses_level self_conditioning
    suggests = {}            # mask_id banned_ids max_length temperature emission num_steps canvas_length max_new_tokens end_ids pad_id

    def logits(self, request):
        """L rows of V numbers before the temperature: nested lists, a flat array of floats, or anything with float32 bytes
        (a numpy array, tensor.numpy())."""
        raise NotImplementedError


class View:
    """One step: step_idx, num_steps, is_last, vocabulary, length, temperature, level_now, level_next, knob, canvas, allowed,
    uniform and the declared statistics by name."""


class State:
    """What a canvas remembers: revealed (bytearray, 1 = final) and scratch (list of floats, empty at the first step)."""

    def __init__(self, revealed, scratch):
        self.revealed = revealed
        self.scratch = scratch


class Request:
    """One forward: canvas_idx, step_idx, length, temperature, level (None: not known), context (prompt and finished
    canvases), canvas, revealed (None or L bytes), previous (None or L*V tempered logits of the step before, or what
    self-conditioning makes of them: -inf is left out)."""


class _Reader:
    def __init__(self, data):
        self.data = memoryview(data)
        self.at = 0

    def unpack(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def array(self, count, form):
        size = count * struct.calcsize("=" + form)
        part = self.data[self.at:self.at + size].cast(form)
        self.at += size
        return part


def _read_view(plugin, reader):
    view = View()
    (view.step_idx, view.num_steps, is_last, view.vocabulary, view.length, bits, count) = reader.unpack("iiiiiII")
    (view.temperature, view.level_now, view.level_next, view.knob) = reader.unpack("dddd")
    view.is_last = bool(is_last)
    view.uniform = {name: reader.array(view.length, "d") for name in plugin.draws}
    scratch = list(reader.array(count, "d")) if plugin.kind == "sampler" else []
    view.canvas = reader.array(view.length, "i")
    for bit, (_, fields) in enumerate(_STATISTICS):
        if bits >> bit & 1:
            for name, form in fields:
                setattr(view, name, reader.array(view.length, form))
    if plugin.kind == "stop_rule":
        view.history = [reader.array(view.length, "i") for _ in range(count)]
    view.allowed = reader.array(view.length, "B")
    revealed = reader.array(view.length, "B")
    if plugin.kind == "stop_rule":
        view.revealed = revealed
        view.action = reader.array(view.length, "B")
    return view, State(bytearray(revealed), scratch)


def _answer_step(plugin, reader):
    view, state = _read_view(plugin, reader)
    answer = plugin.step(view, state)
    actions, tokens = answer if isinstance(answer, tuple) else (answer, None)
    actions = bytes(actions) if isinstance(actions, (bytes, bytearray)) else bytes(map(int, actions))
    if len(actions) != view.length:
        raise ValueError(f"step gave {len(actions)} actions for {view.length} positions")
    scratch = [float(x) for x in state.scratch]
    out = struct.pack(f"<IIII{len(scratch)}d", 0, len(scratch), tokens is not None, 0, *scratch)
    if tokens is not None:
        out += struct.pack(f"<{view.length}i", *(int(t) for t in tokens))
    return [out, actions, bytes(state.revealed)]


def _answer_check(plugin, reader):
    view, _ = _read_view(plugin, reader)
    reason = plugin.check(view)
    if not reason:
        return [struct.pack("<II", 0, 0)]
    return [struct.pack("<II", 0, 1), (reason if isinstance(reason, str) else type(plugin).__name__.lower()).encode()]


def _float_bytes(logits):
    if hasattr(logits, "astype"):
        logits = logits.astype("<f4")
    if hasattr(logits, "tobytes"):  # array.array('f') and numpy arrays
        return logits.tobytes()
    if isinstance(logits, (bytes, bytearray, memoryview)):
        return bytes(logits)
    rows = list(logits)
    flat = [x for row in rows for x in row] if rows and hasattr(rows[0], "__len__") else rows
    return struct.pack(f"<{len(flat)}f", *flat)


def _answer_denoise(plugin, reader):
    request = Request()
    (request.canvas_idx, request.step_idx, request.length, num_context, flags, _, _) = reader.unpack("iiiiIII")
    (request.temperature, level) = reader.unpack("dd")
    request.level = level if flags & 1 else None
    request.context = reader.array(num_context, "i")
    request.canvas = reader.array(request.length, "i")
    request.previous = reader.array(request.length * plugin.vocabulary, "f") if flags & 4 else None
    request.revealed = reader.array(request.length, "B") if flags & 2 else None
    out = _float_bytes(plugin.logits(request))
    if len(out) != 4 * request.length * plugin.vocabulary:
        raise ValueError(f"logits gave {len(out) // 4} numbers; expected {request.length} x {plugin.vocabulary}")
    return [struct.pack("<II", 0, 0), out]


def _number(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text, text)


def _greet(plugins, question):
    lines = dict(line.split(" ", 1) if " " in line else (line, "") for line in question.decode().splitlines())
    if lines.get("canvaslab") != "1":
        raise RuntimeError("this client speaks version 1 of the protocol, the program another")
    fitting = [plugin for plugin in plugins if plugin.kind == lines["kind"]]
    if len(fitting) != 1:
        raise RuntimeError(f"this script serves {len(fitting)} plug-ins of kind {lines['kind']}")
    given = dict(word.split("=", 1) for word in lines["parameters"].split())
    plugin = fitting[0](**{key: _number(value) for key, value in given.items()})
    says = {"facts": " ".join(plugin.facts)}
    if plugin.kind == "denoiser":
        says["vocabulary"] = str(plugin.vocabulary)
        for key, value in plugin.suggests.items():
            says[key] = " ".join(str(x) for x in value) if isinstance(value, (list, tuple)) else str(value)
    else:
        says["statistics"] = " ".join(plugin.statistics)
        says["draws"] = " ".join(plugin.draws)
    if plugin.kind == "sampler":
        says["min_accepted"] = str(plugin.min_accepted)
        says["default_stop"] = plugin.default_stop
        if plugin.default_emission:
            says["default_emission"] = plugin.default_emission
    if plugin.kind == "stop_rule":
        says["history"] = str(plugin.history)
    return plugin, [("canvaslab 1\n" + "".join(f"{key} {value}\n" for key, value in says.items())).encode()]


def serve(*plugins):
    """Answers until the input ends. Takes classes, at most one of each kind; parameters become keyword arguments."""
    if sys.byteorder != "little":
        raise RuntimeError("the protocol is little-endian, this machine is not")
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed from here on
    answers = {1: _answer_step, 2: _answer_check, 3: _answer_denoise}
    plugin = None
    while True:
        head = source.read(4)
        if len(head) < 4:
            return
        question = source.read(struct.unpack("<I", head)[0])
        if plugin is None:
            plugin, answer = _greet(plugins, question)
        else:
            reader = _Reader(question)
            (message,) = reader.unpack("I")
            try:
                answer = answers[message](plugin, reader)
            except Exception as error:  # the sample fails with it; the next question is answered anew
                frames = traceback.extract_tb(error.__traceback__)
                place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
                answer = [struct.pack("<I", 1), f"{type(error).__name__}: {error}{place}".encode()]
        target.write(struct.pack("<I", sum(map(len, answer))))
        for part in answer:
            target.write(part)
        target.flush()
