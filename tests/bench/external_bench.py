"""The programs that external_bench.cpp measures."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../experiments/external"))
import canvaslab_client as canvaslab


class Bench(canvaslab.Sampler):
    statistics = ["entropy", "candidate"]
    facts = ["revocable"]

    def __init__(self, mode):
        self.mode = mode

    def step(self, view, state):
        if self.mode == "empty":
            return bytes(view.length)
        actions = bytearray([canvaslab.NOISE]) * view.length
        entropy = view.entropy_nats.tolist()
        before = 0.0
        for p in sorted(range(view.length), key=entropy.__getitem__):
            if before > 0.1:
                break
            actions[p] = canvaslab.TAKE
            before += entropy[p]
        return actions


class Zeros(canvaslab.Denoiser):
    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.answer = b""

    def logits(self, request):
        if len(self.answer) != 4 * request.length * self.vocabulary:
            self.answer = bytes(4 * request.length * self.vocabulary)
        return self.answer


canvaslab.serve(Bench, Zeros)
