"""my_sampler - a sampler in Python, run beside the engine.

canvaslab check --kind sampler 'external(command="python3 my_sampler/my_sampler.py")'
canvaslab generate --model 'hmm(states=16)' --sampler 'external(command="python3 my_sampler/my_sampler.py", parameters="keep_rest=true", knob=linear(0.2, 1))'
"""
import math

import canvaslab_client as canvaslab


class MySampler(canvaslab.Sampler):
    """Takes the most confident candidates, a share of the canvas; renoises (or keeps) the rest. The knob is that share; 0, what
    it is when nobody gives it, stands for a half."""
    statistics = ["candidate"]  # only what is declared here is computed and sent
    facts = ["revocable"]
    default_emission = "argmax"

    def __init__(self, keep_rest=False):
        self.keep_rest = keep_rest

    def step(self, view, state):
        rest = canvaslab.KEEP if self.keep_rest else canvaslab.NOISE
        actions = [canvaslab.TAKE if view.is_last else rest] * view.length
        free = [p for p in range(view.length) if view.allowed[p]]
        free.sort(key=lambda p: -view.candidate_logprob[p])
        for p in free[:math.ceil((view.knob or 0.5) * len(free))]:
            actions[p] = canvaslab.TAKE
        return actions


canvaslab.serve(MySampler)
