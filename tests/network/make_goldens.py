"""Makes tests/network/goldens: small models that differ in every field that changes the computation, with generations of
the reference recorded step by step.   python tests/network/make_goldens.py [NAME ...]   (needs transformers 5.17.0, h5py)"""
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(__file__))
import reference as ref

TEXT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "text")
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "goldens")
P = [2, 17, 9, 33, 5, 8, 71, 14, 60, 3]
CASES = {
    # name: (model changes, generation changes, prompts, seed)
    "base": ({}, {}, [P], 1),
    "layers": (dict(num_hidden_layers=4, layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"]), {}, [P], 2),
    "widths": (dict(hidden_size=48, intermediate_size=40, moe_intermediate_size=24, vocab_size=80), {}, [P], 3),
    "heads": (dict(num_attention_heads=6, num_key_value_heads=3, num_global_key_value_heads=2, head_dim=12, global_head_dim=8), {}, [P], 4),
    # Sizes that the GPU's kernels run.
    "kernel_sizes": (dict(head_dim=16, global_head_dim=32, sliding_window=8), dict(max_denoising_steps=8, max_new_tokens=32), [P], 17),
    "experts": (dict(num_experts=8, top_k_experts=5), {}, [P], 5),
    "one_expert": (dict(num_experts=3, top_k_experts=1), {}, [P], 6),
    "window": (dict(sliding_window=3), dict(max_new_tokens=48), [P], 7),
    "rope": (dict(rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
                                   "full_attention": {"rope_type": "proportional", "rope_theta": 3e4, "partial_rotary_factor": 0.5}}), {}, [P], 8),
    "eps_short_canvas": (dict(rms_norm_eps=1e-3, canvas_length=8), dict(max_new_tokens=20), [P], 9),
    "early_stop": (dict(mix=0.5, logit_scale=2.0), dict(confidence_threshold=0.1, max_denoising_steps=24, max_new_tokens=64), [P], 10),
    "stability_two": (dict(mix=0.7, logit_scale=2.0), dict(confidence_threshold=0.4, stability_threshold=2, max_denoising_steps=20), [P], 10),
    "end_token": (dict(mix=0.6, logit_scale=3.0), dict(eos_token_id=list(range(1, 9)), max_new_tokens=64), [P], 12),
    # At a feedback of 0.15 the reference's own back ends part by 1.0e-4 (0.10: 2.9e-6, 0.07: 1.5e-6): no model to compare with.
    "schedule": (dict(feedback_scale=0.07), dict(t_min=0.1, t_max=1.5, max_denoising_steps=17, entropy_bound=1.5, stability_threshold=0, confidence_threshold=0.5), [P], 13),
    # Rows that freeze at different steps; in the second, one row ends a canvas before the other and is carried along.
    "batch": (dict(mix=0.5, logit_scale=1.5), dict(confidence_threshold=0.2, max_denoising_steps=10, max_new_tokens=48, eos_token_id=[1, 44, 7]), [P, P[:4]], 31),
    "pad_id": (dict(mix=0.6, logit_scale=3.0), dict(pad_token_id=9, eos_token_id=[1, 8, 30], confidence_threshold=0.2), [P[:3], P], 15),
    # A checkpoint with a tokenizer and a chat template: prompts are texts, sent as one user turn.
    "text": (dict(hidden_size=16, intermediate_size=16, moe_intermediate_size=8, logit_scale=3.0, mix=0.6), dict(max_new_tokens=32, max_denoising_steps=6), ["What is 2+2?"], 16),
    "batch_one_ends": (dict(mix=0.5, logit_scale=1.5), dict(confidence_threshold=0.2, max_denoising_steps=10, max_new_tokens=48, eos_token_id=[1, 44, 7]), [P, P[:4]], 24),
}


def chat_prompt(text):
    """One user turn through our test template and tokenizer, by jinja2 and tokenizers."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from tokenizers import Tokenizer
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(open(os.path.join(TEXT, "gemma_like.jinja")).read())
    rendered = template.render(messages=[{"role": "user", "content": text}], add_generation_prompt=True, bos_token="<bos>")
    return Tokenizer.from_file(os.path.join(TEXT, "gemma_like.json")).encode(rendered, add_special_tokens=False).ids


def add_text_side(folder, run, longest):
    """Tokenizer, template, and what the reference's tokenizer reads in the tokens."""
    from tokenizers import Tokenizer
    shutil.copy(os.path.join(TEXT, "gemma_like.json"), os.path.join(folder, "tokenizer.json"))
    shutil.copy(os.path.join(TEXT, "gemma_like.jinja"), os.path.join(folder, "chat_template.jinja"))
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        f.write('{"bos_token": "<bos>", "eos_token": "<eos>"}\n')
    tokens = run["sequences"][0, longest:].tolist()
    while tokens and tokens[-1] == 0:
        tokens.pop()
    tokenizer = Tokenizer.from_file(os.path.join(TEXT, "gemma_like.json"))
    with open(os.path.join(folder, "text.txt"), "w", newline="") as f:
        f.write(tokenizer.decode(tokens, skip_special_tokens=False))


def main():
    wanted = sys.argv[1:] or list(CASES)
    for name in wanted:
        changes, generation, prompts, seed = CASES[name]
        shutil.rmtree(os.path.join(HERE, name), ignore_errors=True)
        is_text = isinstance(prompts[0], str)
        if is_text:
            prompts = [chat_prompt(text) for text in prompts]
            changes = dict(changes, vocab_size=1240)  # the tokenizer's ids and the image tokens behind them
        model = ref.make_model(seed, **changes)
        config = ref.generation_config(**generation)
        folder = os.path.join(HERE, name)
        ref.save(model, config, folder)
        run = ref.record(model, prompts, config, seed)
        deviation = ref.rounding_deviation(model, run, prompts)
        ref.write(os.path.join(folder, "reference.h5"), run, prompts, config, seed, self_deviation=deviation, bf16_error=ref.bf16_error(model, run, prompts))
        if is_text:
            add_text_side(folder, run, len(prompts[0]))
        size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
        steps = [sum(s["canvas_idx"] == c for s in run["steps"]) for c in range(run["steps"][-1]["canvas_idx"] + 1)]
        print(f"{name:18} {size / 1e3:7.0f} kB  self-deviation {deviation:.1e}  steps {steps}  tokens/forward {run['tokens_per_forward'].tolist()}")


if __name__ == "__main__":
    main()
