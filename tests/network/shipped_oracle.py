"""Generations of transformers from a checkpoint folder, on record.   python shipped_oracle.py MODEL OUT SEED 'IDS' ['IDS' ...]"""
import sys
import os

sys.path.insert(0, os.path.dirname(__file__))
import reference as ref
import torch
from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig


def main():
    folder, out, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    model = ref.DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.float32).eval()
    config = DiffusionGemmaGenerationConfig.from_pretrained(folder)
    for number, ids in enumerate(sys.argv[4:]):
        prompts = [[int(i) for i in ids.split()]]
        run = ref.record(model, prompts, config, seed + number)
        ref.write(os.path.join(out, f"{number}.h5"), run, prompts, config, seed + number, self_deviation=ref.rounding_deviation(model, run, prompts))


if __name__ == "__main__":
    main()
