"""The schedulers of diffusers as external samplers, fed with the engine's candidates, statistics and draws.

Their step takes logits and draws for itself. Here everything that it draws or derives from logits comes from the step that
the engine sent: candidates and their probabilities, entropies, the route's uniform; fresh noise is marked with -1. What is
left is the rule itself: which positions take, keep or lose their tokens.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../experiments/external"))
import canvaslab_client as canvaslab
import torch
from diffusers import BlockRefinementScheduler, DiscreteDDIMScheduler, EntropyBoundScheduler

FRESH = -1


def tensor(view, dtype):
    return torch.tensor(list(view), dtype=dtype)[None]  # [1, L]


class Given:
    """torch.distributions.Categorical for which the entropy is known."""
    entropies = None

    def __init__(self, logits):
        pass

    def entropy(self):
        return Given.entropies


def scheduler_of(words):
    """From a name and its parameters."""
    name, *values = words
    if name == "entropy_bound":
        return EntropyBoundScheduler(entropy_bound=float(values[0]), t_max=1.0, t_min=1.0)
    if name == "ddim":
        return DiscreteDDIMScheduler()
    assert name == "block_refinement"
    return BlockRefinementScheduler(threshold=float(values[0]), editing_threshold=float(values[1]) if len(values) > 1 else None)


class Scheduler(canvaslab.Sampler):
    """settings: schedulers by ',', each a name and numbers by '/'. The knob says which one decides: importing diffusers takes
    seconds, so one process serves them all, and the facts are those that all of them keep."""
    statistics = ["entropy", "candidate"]
    draws = ["route"]
    facts = ["needs_level", "revocable", "locks"]
    default_emission = "canvas"

    def __init__(self, settings):
        self.schedulers = [scheduler_of(words.split("/")) for words in settings.split(",")]
        torch.distributions.Categorical = Given
        torch.randint = lambda low, high, size, **_: torch.full(size, FRESH, dtype=torch.long)

    def step(self, view, state):
        scheduler = self.schedulers[int(view.knob)]
        refines = isinstance(scheduler, BlockRefinementScheduler)
        candidate = tensor(view.candidate, torch.long)
        probability = tensor(view.candidate_logprob, torch.float32).exp()
        canvas = tensor(view.canvas, torch.long)
        uniform = torch.tensor(list(view.uniform["route"]), dtype=torch.float64)
        Given.entropies = tensor(view.entropy_nats, torch.float32)
        # Inversion: the route whose part of [0, 1) the uniform falls into.
        torch.multinomial = lambda probs, num_samples, generator: (uniform[:, None] >= probs.double().cumsum(-1)[:, :2]).sum(-1, keepdim=True)
        scheduler._sample_from_logits = lambda logits, **_: (candidate, probability)
        scheduler.num_inference_steps = view.num_steps
        if refines:
            scheduler._committed = torch.tensor(list(state.revealed), dtype=torch.bool)[None]
        logits = torch.zeros(1, view.length, view.vocabulary)
        after = scheduler.step(logits, view.step_idx, canvas).prev_sample[0].tolist()
        if refines:
            state.revealed[:] = bytes(int(c) for c in scheduler._committed[0])
        actions = []
        for p in range(view.length):
            if after[p] == FRESH:
                actions.append(canvaslab.NOISE)
            elif after[p] == view.canvas[p]:
                actions.append(canvaslab.KEEP)
            else:
                assert after[p] == view.candidate[p]
                actions.append(canvaslab.TAKE)
        return actions


canvaslab.serve(Scheduler)
