"""The reference's side of compare.sh: random checkpoints of the two bench shapes, and transformers' time per step on them.

  python tests/bench/reference_step.py make FOLDER            writes FOLDER/tiny, FOLDER/small and FOLDER/large (2 GB in bf16)
  python tests/bench/reference_step.py time FOLDER/tiny f32   prints JSON: milliseconds per whole step and of one prefill
  python tests/bench/reference_step.py sweep FOLDER/tiny      seconds per sample of 12 steps, two threads, the best of batches of 1 and 8
  python tests/bench/reference_step.py load FOLDER/large      milliseconds and peak memory of loading in bf16, over the file's size
  python tests/bench/reference_step.py cold FOLDER/large      the same with the file out of the page cache
Needs transformers 5.17.0 (see tests/network/live_oracle.py). One thread.
"""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "network"))
import reference as ref
import torch

SHAPES = {
    "tiny": dict(hidden_size=128, num_hidden_layers=6, num_experts=8, top_k_experts=2, moe_intermediate_size=64, intermediate_size=256, vocab_size=512,
                 num_attention_heads=4, num_key_value_heads=2, head_dim=32, global_head_dim=32, num_global_key_value_heads=1, sliding_window=512,
                 layer_types=["sliding_attention"] * 5 + ["full_attention"], max_position_embeddings=4096),
    "small": dict(hidden_size=384, num_hidden_layers=12, num_experts=32, top_k_experts=4, moe_intermediate_size=128, intermediate_size=768, vocab_size=8192,
                  num_attention_heads=6, num_key_value_heads=3, head_dim=64, global_head_dim=64, num_global_key_value_heads=1, sliding_window=512,
                  layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 2, max_position_embeddings=4096),
    "large": dict(hidden_size=1024, num_hidden_layers=12, num_experts=32, top_k_experts=4, moe_intermediate_size=768, intermediate_size=2048, vocab_size=8192,
                  num_attention_heads=8, num_key_value_heads=4, head_dim=128, global_head_dim=128, num_global_key_value_heads=2, sliding_window=512,
                  layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 2, max_position_embeddings=4096),
}
CANVAS = {"tiny": 64, "small": 256, "large": 256}
PROMPT = 64
STEPS = 12


def make(folder):
    for name, changes in SHAPES.items():
        path = os.path.join(folder, name)
        if os.path.exists(os.path.join(path, "model.safetensors")):
            continue
        # mix 0.2: with 1 twelve random layers multiply one rounding by 10^4, and no result could be compared.
        model = ref.make_model(5, canvas_length=CANVAS[name], mix=0.2, **changes)
        if name == "large":
            model = model.to(torch.bfloat16)
        ref.save(model, ref.generation_config(max_new_tokens=CANVAS[name], max_denoising_steps=STEPS, eos_token_id=[1], confidence_threshold=1e-9), path)


def seconds(run, repeats):
    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def measure(folder, dtype):
    from transformers import DiffusionGemmaForBlockDiffusion
    model = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.bfloat16 if dtype == "bf16" else torch.float32).eval()
    length = model.config.canvas_length
    vocabulary = model.config.text_config.vocab_size
    tiny = length == CANVAS["tiny"]
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(4, vocabulary - 4, (1, PROMPT), generator=draw)
    # The difference of two lengths of generation is whole steps, sampler included, without prefill and set-up.
    times = {}
    with torch.no_grad():
        for steps in (STEPS, 2 * STEPS):
            config = ref.generation_config(max_new_tokens=length, max_denoising_steps=steps, eos_token_id=[vocabulary - 1], confidence_threshold=1e-9)
            times[steps] = seconds(lambda: model.generate(input_ids=ids, generation_config=config), 5 if tiny else 2)
        long = torch.randint(4, vocabulary - 4, (1, 512), generator=draw)
        prefill = seconds(lambda: model.model.encoder(input_ids=long), 5 if tiny else 3)
    print(json.dumps({"step_ms": (times[2 * STEPS] - times[STEPS]) / STEPS * 1e3, "prefill_ms": prefill * 1e3}))


def sweep(folder):
    from transformers import DiffusionGemmaForBlockDiffusion
    torch.set_num_threads(2)
    model = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.float32).eval()
    vocabulary = model.config.text_config.vocab_size
    config = ref.generation_config(max_new_tokens=model.config.canvas_length, max_denoising_steps=STEPS, eos_token_id=[vocabulary - 1], confidence_threshold=1e-9)
    with torch.no_grad():
        alone, in_batches = [seconds(lambda: model.generate(input_ids=torch.randint(4, vocabulary - 4, (batch, 4)), generation_config=config), 3) / batch for batch in (1, 8)]
    print(json.dumps({"seconds_alone": alone, "seconds_in_batches": in_batches}))


def memory(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))


def load(folder):
    from transformers import DiffusionGemmaForBlockDiffusion
    open("/proc/self/clear_refs", "w").write("5")  # the high-water mark starts anew
    before, begin = memory("VmRSS"), time.perf_counter()
    model = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.bfloat16).eval()
    total = sum(p.flatten()[::2048].float().sum().item() for p in model.parameters())  # mapped lazily: one element of every page
    took = time.perf_counter() - begin
    size = os.path.getsize(os.path.join(folder, "model.safetensors"))
    print(json.dumps({"load_ms": took * 1e3, "peak_over_file": (memory("VmHWM") - before) / size, "check": total}))


def cold(folder):
    file = os.open(os.path.join(folder, "model.safetensors"), os.O_RDONLY)
    os.fdatasync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
    load(folder)


if __name__ == "__main__":
    {"make": make, "time": measure, "sweep": sweep, "load": load, "cold": cold}[sys.argv[1]](*sys.argv[2:])
