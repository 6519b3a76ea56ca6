"""The reference's sampler on [rows, vocabulary] f32 logits, one thread: prints JSON with the milliseconds of entropy twice,
multinomial and acceptance as transformers' entropy-bound sampler makes them, and of the draw's exponentials alone."""
import json
import statistics
import sys
import time

import torch

torch.set_num_threads(1)


def milliseconds(run, repeats=3):
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3


def step(logits):
    logits = logits / 0.8
    probability = torch.softmax(logits, -1)
    candidate = torch.multinomial(probability, 1).squeeze(-1)
    argmax = logits.argmax(-1)
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    order = entropy.sort().values
    accepted = order.cumsum(-1) - order <= 0.1
    confidence = torch.distributions.Categorical(logits=logits).entropy().mean()
    return candidate, argmax, accepted, confidence


rows, vocabulary = int(sys.argv[1]), int(sys.argv[2])
logits = torch.randn(rows, vocabulary) * 4
probability = torch.softmax(logits / 0.8, -1)
print(json.dumps({"sampler_ms": milliseconds(lambda: step(logits), 1), "draw_ms": milliseconds(lambda: torch.multinomial(probability, 1), 1)}))
