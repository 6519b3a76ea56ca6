"""PyTorch's and transformers' times for what measure.cu times, in the same lines of JSON. Random weights at the checkpoint's shape, made on the GPU.
   python3 experiments/gpu/compare_torch.py operators | eager | grouped_mm | compiled
operators: grouped_mm, SDPA, softmax and sampler in eager and compiled form. The others: milliseconds of a whole denoise step of transformers' generate, the difference of 32 and 16 forced steps, with
the experts written as a loop, by grouped_mm, or compiled with a static cache as transformers does itself."""
import json
import os
import statistics
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch

ROWS, HIDDEN, EXPERTS, SLOTS, WIDTH, VOCABULARY, SETS = 256, 2816, 128, 8, 704, 262144, 3
REPEATS = 30


def report(what, by, us, bytes_=0, flop=0, **more):
    print(json.dumps({"what": what, "by": by, "us": statistics.median(us), "least_us": min(us), "most_us": max(us), "bytes": bytes_, "flop": flop, **more}), flush=True)


def times(run, calls=10, graph=True):
    """Microseconds a call: captured in a graph as our kernels are, or as the host enqueues them."""
    for i in range(3):
        run(i)
    torch.cuda.synchronize()
    replay = lambda: [run(i) for i in range(calls)]
    if graph:
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            replay()
        replay = captured.replay
    out = []
    for r in range(REPEATS + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        replay()
        end.record()
        end.synchronize()
        if r >= 3:
            out.append(begin.elapsed_time(end) * 1e3 / calls)
    return out


def attempt(name, run):
    """One contender after another: what a version lacks is told, the rest goes on."""
    try:
        run()
    except Exception as error:
        print(json.dumps({"what": name, "left_out": f"{type(error).__name__}: {error}"[:300]}), flush=True)
    torch.cuda.empty_cache()


def random(*shape, scale=1.0, dtype=torch.bfloat16):
    return (torch.randn(shape, device="cuda", dtype=torch.bfloat16) * scale).to(dtype)


def routed_rows():
    """Expert of each routed row, ascending, by uniform routing; and how many rows come before the end of each expert."""
    generator = torch.Generator().manual_seed(1)
    expert = torch.stack([torch.randperm(EXPERTS, generator=generator)[:SLOTS] for _ in range(ROWS)]).flatten()
    order = torch.argsort(expert, stable=True)
    return order.cuda(), torch.bincount(expert, minlength=EXPERTS).cumsum(0).to(torch.int32).cuda()


def grouped_experts():
    x, (order, ends) = random(ROWS, HIDDEN), routed_rows()
    up = [random(EXPERTS, 2 * WIDTH, HIDDEN, scale=HIDDEN ** -0.5) for _ in range(SETS)]
    down = [random(EXPERTS, HIDDEN, WIDTH, scale=WIDTH ** -0.5) for _ in range(SETS)]
    grouped_mm = getattr(torch.nn.functional, "grouped_mm", None) or torch._grouped_mm

    def run(i):
        rows = x[order // SLOTS]
        gate, high = grouped_mm(rows, up[i % SETS].transpose(-2, -1), offs=ends).chunk(2, -1)
        return grouped_mm(torch.nn.functional.gelu(gate, approximate="tanh") * high, down[i % SETS].transpose(-2, -1), offs=ends)

    flop = 6.0 * ROWS * SLOTS * WIDTH * HIDDEN
    report("experts uniform", "torch grouped_mm", times(run, graph=False), 2.0 * EXPERTS * 3 * WIDTH * HIDDEN, flop)
    attempt("experts uniform compiled", lambda: report("experts uniform", "torch grouped_mm compiled", times(torch.compile(run), graph=False), 2.0 * EXPERTS * 3 * WIDTH * HIDDEN, flop))


def sdpa():
    for name, width, kv_heads, cached in (("attention sliding", 256, 8, 1023), ("attention full 1k", 512, 2, 1024), ("attention full 8k", 512, 2, 8192)):
        heads, keys = 16, cached + ROWS
        q = random(1, heads, ROWS, width, scale=2 * width ** -0.5)
        k, v = [random(1, kv_heads, keys, width) for _ in range(8)], [random(1, kv_heads, keys, width) for _ in range(8)]
        run = lambda i: torch.nn.functional.scaled_dot_product_attention(q, k[i % 8], v[i % 8], scale=1.0, enable_gqa=True)
        attempt(name, lambda: report(name, "torch sdpa", times(run), 4.0 * kv_heads * keys * width, 4.0 * ROWS * heads * keys * width))


def sampler():
    x, w = random(ROWS, HIDDEN), random(VOCABULARY, HIDDEN, scale=0.05)

    def run(i):
        z = torch.tanh(torch.nn.functional.linear(x, w).float() / 30) * 30 / 0.8
        log_p = torch.log_softmax(z, -1)
        p = log_p.exp()
        return torch.multinomial(p, 1), -(p * log_p).sum(-1), z.argmax(-1)

    flop, bytes_ = 2.0 * ROWS * VOCABULARY * HIDDEN, 2.0 * VOCABULARY * HIDDEN
    report("head and statistics", "torch eager", times(run, 2, graph=False), bytes_, flop)
    attempt("head and statistics compiled", lambda: report("head and statistics", "torch compiled", times(torch.compile(run), 2, graph=False), bytes_, flop))
    table = random(VOCABULARY, HIDDEN)
    for sharpness in (0.5, 2.0, 6.0):
        logits = torch.randn(ROWS, VOCABULARY, device="cuda") * sharpness
        soft = lambda i: torch.softmax((logits * 1.25).to(torch.bfloat16).float(), -1).to(torch.bfloat16) @ table * 53
        report("soft embedding dense", "torch eager", times(soft, 2, graph=False), bytes_, flop, sharpness=sharpness)


def model(experts):
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, DiffusionGemmaTextConfig, Gemma4VisionConfig
    layers = (["sliding_attention"] * 5 + ["full_attention"]) * 5
    text = DiffusionGemmaTextConfig(vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=2112, moe_intermediate_size=WIDTH, num_experts=EXPERTS, top_k_experts=SLOTS, num_hidden_layers=30, num_attention_heads=16,
                                    num_key_value_heads=8, head_dim=256, global_head_dim=512, num_global_key_value_heads=2, sliding_window=1024, layer_types=layers, max_position_embeddings=262144)
    vision = Gemma4VisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=8, global_head_dim=8, patch_size=4, position_embedding_size=8, pooling_kernel_size=1)
    config = DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=ROWS)
    options = {} if experts is None else {"experts_implementation": experts}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):  # the 50 GB never stand on the host
            network = DiffusionGemmaForBlockDiffusion._from_config(config, **options).eval()
    finally:
        torch.set_default_dtype(before)
    generator = torch.Generator(device="cuda").manual_seed(1)
    with torch.no_grad():
        for name, tensor in list(network.named_parameters()) + list(network.named_buffers()):
            if tensor.is_floating_point() and tensor.dim() >= 2 and "vision" not in name:
                tensor.normal_(0, 0.02, generator=generator)
            elif name.endswith("layer_scalar"):
                tensor.fill_(0.2)
    return network


def whole_step(kind):
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig, EntropyBoundSamplerConfig
    network = model(None if kind == "compiled" else kind)
    prompt = torch.randint(4, 255000, (1, 1024), device="cuda", generator=torch.Generator(device="cuda").manual_seed(2))
    each = {}
    for steps in (16, 32):
        # Nothing converges: the reference refuses a confidence of zero; 1e-9 forces all steps as well.
        config = DiffusionGemmaGenerationConfig(sampler_config=EntropyBoundSamplerConfig(entropy_bound=0.1), max_new_tokens=ROWS, max_denoising_steps=steps, t_min=0.4, t_max=0.8, stability_threshold=1,
                                                confidence_threshold=1e-9, eos_token_id=[1], pad_token_id=0, **({"cache_implementation": "static"} if kind == "compiled" else {"disable_compile": True}))
        took = []
        with torch.no_grad():
            for r in range(4):
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record()
                network.generate(input_ids=prompt, generation_config=config)
                end.record()
                end.synchronize()
                if r > 0:
                    took.append(begin.elapsed_time(end) * 1e3)
        each[steps] = took
    report("step 1024", f"transformers {kind}", [(b - a) / 16 for a, b in zip(sorted(each[16]), sorted(each[32]))])


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ("operators", "eager", "grouped_mm", "compiled"):
        sys.exit(__doc__)
    torch.manual_seed(0)
    if sys.argv[1] == "operators":
        for name, run in (("experts", grouped_experts), ("attention", sdpa), ("sampler", sampler)):
            attempt(name, run)
    else:
        whole_step(sys.argv[1])


if __name__ == "__main__":
    main()
