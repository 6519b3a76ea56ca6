"""The entropy bound and a stop rule as external plug-ins.

canvaslab generate --model 'hmm(states=16)' --sampler 'external(command="python3 experiments/external/entropy_bound.py", parameters="bound=0.2")'
                   --stop 'external(command="python3 experiments/external/entropy_bound.py")'
"""
import canvaslab_client as canvaslab


class EntropyBound(canvaslab.Sampler):
    statistics = ["entropy", "candidate"]
    facts = ["revocable", "product_law"]
    min_accepted = 1
    default_stop = "stable_and_confident"
    default_emission = "argmax"

    def __init__(self, bound=0.1):
        self.bound = bound

    def step(self, view, state):
        actions = [canvaslab.NOISE] * view.length
        before = 0.0
        for p in sorted((p for p in range(view.length) if view.allowed[p]), key=lambda p: (view.entropy_nats[p], p)):
            if before > self.bound:
                break
            actions[p] = canvaslab.TAKE
            before += view.entropy_nats[p]
        return actions


class Stable(canvaslab.StopRule):
    statistics = ["max"]
    facts = ["breaks_level"]
    history = 1

    def check(self, view):
        return bool(view.history) and view.history[-1].tolist() == view.argmax.tolist()


canvaslab.serve(EntropyBound, Stable)
