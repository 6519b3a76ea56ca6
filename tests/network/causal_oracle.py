"""Causal logits of the reference: its encoder's hidden states through its lm head and soft-cap.

    causal_oracle.py FOLDER...                 writes causal.h5 into checkpoint folders (the committed goldens)
    causal_oracle.py --fresh FOLDER SEED COUNT makes COUNT random models in FOLDER/0, FOLDER/1, ..., with causal.h5 each
causal.h5: ids [n], logits [n, V] f32 (row i: of the token behind ids[0..i]), hidden_deviation: largest difference between the
reference's own back ends over the largest logit.
"""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(__file__))
import h5py
import live_oracle
import numpy as np
import reference as ref
import torch
from transformers import DiffusionGemmaForBlockDiffusion


def causal_logits(model, ids):
    with torch.no_grad():
        hidden = model.model.encoder(input_ids=torch.tensor([ids])).last_hidden_state
        cap = model.final_logit_softcapping
        return (cap * torch.tanh(model.lm_head(hidden) / cap))[0]


def write(model, folder, seed):
    rng = random.Random(f"causal {seed}")
    ids = [rng.randint(1, model.config.text_config.vocab_size - 4) for _ in range(24)]
    both = []
    for backend, experts in (("eager", "eager"), ("sdpa", "grouped_mm")):
        model.set_attn_implementation(backend)
        model.set_experts_implementation(experts)
        both.append(causal_logits(model, ids))
    with h5py.File(os.path.join(folder, "causal.h5"), "w") as f:
        f["ids"] = np.array(ids, "i4")
        f["logits"] = both[1].float().numpy()
        f["deviation"] = np.array([float((both[0] - both[1]).abs().max() / both[1].abs().max())])


def main():
    if sys.argv[1] != "--fresh":
        for folder in sys.argv[1:]:
            write(DiffusionGemmaForBlockDiffusion.from_pretrained(folder).eval(), folder, os.path.basename(folder.rstrip("/")))
        return
    folder, seed, count = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    rng = random.Random(seed)
    for i in range(count):
        changes, generation, _ = live_oracle.random_case(rng)
        model = ref.make_model(rng.randrange(2**31), **changes)
        path = os.path.join(folder, str(i))
        ref.save(model, ref.generation_config(**generation), path)
        write(model, path, seed)


if __name__ == "__main__":
    main()
