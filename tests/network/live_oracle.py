"""Fresh random models with recorded generations, for the live comparison.   python live_oracle.py FOLDER SEED COUNT"""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(__file__))
import reference as ref


def random_case(rng):
    """Every field that changes the computation, drawn anew. Widths are multiples of 4: torch's grouped GEMM needs that."""
    kv, global_kv = rng.choice([1, 2, 3]), rng.choice([1, 2])
    heads = kv * global_kv * rng.choice([1, 2])
    layers = rng.randint(1, 4)
    experts = rng.randint(2, 9)
    model = dict(vocab_size=rng.choice([40, 72, 96, 130]), hidden_size=4 * rng.randint(5, 14), intermediate_size=4 * rng.randint(4, 14), moe_intermediate_size=4 * rng.randint(2, 8),
                 num_experts=experts, top_k_experts=rng.randint(1, experts), num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, head_dim=2 * rng.randint(3, 8),
                 global_head_dim=4 * rng.randint(2, 6), num_global_key_value_heads=global_kv, sliding_window=rng.randint(2, 12),
                 layer_types=[rng.choice(["sliding_attention", "full_attention"]) for _ in range(layers - 1)] + ["full_attention"],
                 rms_norm_eps=10 ** rng.uniform(-7, -3), canvas_length=rng.choice([6, 11, 16, 20]), mix=rng.uniform(0.3, 1.0), logit_scale=rng.uniform(0.7, 3.0),
                 feedback_scale=rng.uniform(0.01, 0.07),
                 rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 10 ** rng.uniform(2, 5)},
                                  "full_attention": {"rope_type": "proportional", "rope_theta": 10 ** rng.uniform(3, 6), "partial_rotary_factor": rng.choice([0.25, 0.5, 1.0])}})
    t_min = rng.uniform(0.2, 0.7)
    canvas = model["canvas_length"]
    generation = dict(max_new_tokens=canvas * rng.randint(1, 3) - rng.randint(0, 3), max_denoising_steps=rng.randint(2, 14), t_min=t_min, t_max=t_min + rng.uniform(0.1, 0.8),
                      stability_threshold=rng.randint(0, 2), confidence_threshold=10 ** rng.uniform(-2.5, 0), entropy_bound=10 ** rng.uniform(-2, 0.5),
                      eos_token_id=rng.sample(range(1, model["vocab_size"] - 3), rng.randint(1, 3)))
    word = lambda: rng.randint(1, model["vocab_size"] - 4)
    prompts = [[word() for _ in range(rng.randint(1, 25))] for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    return model, generation, prompts


def main():
    folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    made = redrawn = close = 0
    while made < count:
        changes, generation, prompts = random_case(rng)
        model = ref.make_model(rng.randrange(2**31), **changes)
        config = ref.generation_config(**generation)
        draw_seed = rng.randrange(2**31)
        run = ref.record(model, prompts, config, draw_seed)
        deviation = ref.rounding_deviation(model, run, prompts)
        # A model whose feedback amplifies the reference's own rounding has no answer to compare with.
        if deviation > 5e-6:
            redrawn += 1
            continue
        # A run in which some decision hangs on the reference's own rounding can be compared in part only: one in ten is kept.
        if min(float(s["gap"].min()) for s in run["steps"]) < 10 * deviation:
            if close >= count // 10:
                redrawn += 1
                continue
            close += 1
        path = os.path.join(folder, str(made))
        ref.save(model, config, path)
        ref.write(os.path.join(path, "reference.h5"), run, prompts, config, draw_seed, self_deviation=deviation)
        made += 1
    print(f"{redrawn} models redrawn: the reference disagreed with itself, or its decisions hung on its own rounding")


if __name__ == "__main__":
    main()
