"""The reference side of the parity tests: random DiffusionGemma models, and generations with every step on record.

Used by make_goldens.py (committed goldens) and live_oracle.py (fresh models each run). Needs transformers 5.17.0.
"""
import copy
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import h5py
import numpy as np
import torch
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, DiffusionGemmaTextConfig, Gemma4VisionConfig
from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig, EntropyBoundSamplerConfig

torch.set_num_threads(1)

TEXT = dict(vocab_size=96, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_experts=4, top_k_experts=2, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, global_head_dim=16, num_global_key_value_heads=1, sliding_window=6,
            layer_types=["sliding_attention", "full_attention"], max_position_embeddings=512)


def make_model(seed, canvas_length=16, logit_scale=1.0, feedback_scale=0.05, mix=1.0, **changes):
    """A random model. mix: size of what attention and MLPs add to the residual; small values make models that settle."""
    torch.manual_seed(seed)
    text = DiffusionGemmaTextConfig(**{**TEXT, **changes})
    vision = Gemma4VisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=8, global_head_dim=8,
                                patch_size=4, position_embedding_size=8, pooling_kernel_size=1)
    config = DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=canvas_length, image_token_id=text.vocab_size - 1, boi_token_id=text.vocab_size - 2,
                                  eoi_token_id=text.vocab_size - 3)
    model = DiffusionGemmaForBlockDiffusion(config).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    draw = lambda t, mean, std: t.copy_(mean + std * torch.randn(t.shape, generator=generator))
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if "vision" in name or not tensor.is_floating_point() or "inv_freq" in name or "embed_scale" in name:
                continue
            if name.endswith("layer_scalar"):
                draw(tensor, 0.9, 0.1)
            elif "embed_tokens" in name:
                draw(tensor, 0, 0.5)
            elif "self_conditioning" in name and tensor.dim() == 2:
                draw(tensor, 0, feedback_scale)
            elif "norm" in name and tensor.dim() == 1:
                draw(tensor, logit_scale if name.endswith(("decoder.norm.weight", "language_model.norm.weight")) else 1.0, 0.2)
                if name.endswith(("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")):
                    tensor.mul_(mix)
            elif "per_expert_scale" in name or "router.scale" in name:
                draw(tensor, 1.0, 0.3)
            elif tensor.dim() >= 2:
                draw(tensor, 0, tensor.shape[-1] ** -0.5)
    return model


def generation_config(**changes):
    values = dict(max_new_tokens=32, max_denoising_steps=12, t_min=0.4, t_max=0.8, stability_threshold=1, confidence_threshold=0.005, eos_token_id=[1], pad_token_id=0,
                  entropy_bound=0.1)
    values.update(changes)
    bound = values.pop("entropy_bound")
    return DiffusionGemmaGenerationConfig(sampler_config=EntropyBoundSamplerConfig(entropy_bound=bound), **values)


class Gaps:
    """How far each step's decisions are from going the other way, in units of logits over the step's largest |logit|.

    Sampling: the race of torch.multinomial, replayed from the generator's state. Router: the k-th against the next expert.
    Acceptance and stop: relative distance of the entropy sums from their bounds, and of the last accepted position's
    entropy from the first refused one's (near ties may change places), divided by how fast they move with the logits
    (dH = -sum p (ln p + H) dz: relative to H about as fast as one logit over T)."""

    def __init__(self, model, config, length):
        self.config, self.length, self.router, self.race = config, length, float("inf"), None
        self.handles = [m.register_forward_hook(self.route(m)) for n, m in model.named_modules() if n.endswith("router.proj")]
        self.top_k = model.config.text_config.top_k_experts
        self.multinomial = torch.multinomial
        torch.multinomial = self.draw

    def close(self):
        for handle in self.handles:
            handle.remove()
        torch.multinomial = self.multinomial

    def route(self, _module):
        def hook(_m, _inputs, out):
            if out.shape[-1] > self.top_k:
                top = out.float().topk(self.top_k + 1, -1).values
                self.router = min(self.router, float(((top[..., -2] - top[..., -1]) / out.abs().max()).min()))
        return hook

    def draw(self, p, *args, **kw):
        state = torch.get_rng_state()
        race = (p / torch.empty_like(p).exponential_(1)).log()
        torch.set_rng_state(state)
        top = race.topk(2, -1).values
        self.race = (top[:, 0] - top[:, 1]).view(-1, self.length)
        return self.multinomial(p, *args, **kw)

    def step(self, entropy, argmax_gap, temperature, largest, bound):
        """[B]; also forgets this step's router."""
        order = entropy.sort(-1).values.double()
        before = order.cumsum(-1) - order
        scale = temperature / largest
        taken = (before <= bound).sum(-1)
        edge = torch.stack([(1 - row[k - 1] / row[k].clamp(min=1e-30)) if 0 < k < len(row) else torch.tensor(float("inf"), dtype=row.dtype) for row, k in zip(order, taken.tolist())])
        out = torch.stack([self.race.min(-1).values * scale, argmax_gap.min(-1).values,
                           (before / bound - 1).abs().min(-1).values * scale, edge * scale,
                           (entropy.double().mean(-1) / self.config.confidence_threshold - 1).abs() * scale,
                           torch.full((entropy.shape[0],), self.router)]).min(0).values
        self.router = float("inf")
        return out


def record(model, prompts, config, seed):
    """Runs generate with every step on record. prompts: lists of ids, left-padded together."""
    longest = max(len(p) for p in prompts)
    pad = config.pad_token_id
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    steps, original, canvas_idx = [], model._denoising_step, [-1]

    def spy(**kw):
        forward, sampler, n = kw["decoder_forward"], kw["sampler"], kw["cur_step"]
        total = config.max_denoising_steps
        if n == total:
            canvas_idx[0] += 1
        entry = {"canvas_idx": canvas_idx[0], "step_idx": total - n, "canvas_in": kw["current_canvas"].clone(), "frozen": kw["finished_denoising"].clone()}

        def decoder_forward(**a):
            out = forward(**a)
            entry["logits"] = out.logits.clone()
            return out

        accept = sampler.accept_canvas

        def accept_canvas(current, candidate, logits, step):
            entry["candidate"] = candidate.clone()
            entry["entropy_nats"] = torch.distributions.Categorical(logits=logits).entropy()
            out = accept(current, candidate, logits, step)
            entry["accepted"] = sampler.accepted_token_mask.clone()
            return out

        sampler.accept_canvas = accept_canvas
        kw["decoder_forward"] = decoder_forward
        result = original(**kw)
        del sampler.accept_canvas
        step = torch.tensor(n, dtype=torch.int32)
        entry["temperature"] = config.t_min + (config.t_max - config.t_min) * (step / total)
        entry["canvas_out"], entry["argmax"] = result[0].clone(), result[1].clone()
        top = entry["logits"].topk(2, -1).values
        largest = entry["logits"].abs().amax((-2, -1))
        entry["gap"] = gaps.step(entry["entropy_nats"], (top[..., 0] - top[..., 1]) / largest[:, None], entry["temperature"], largest, config.sampler_config.entropy_bound)
        steps.append(entry)
        return result

    gaps = Gaps(model, config, model.config.canvas_length)
    model._denoising_step = spy
    torch.manual_seed(seed)
    with torch.no_grad():
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    del model._denoising_step
    gaps.close()
    next_draw = int(torch.randint(0, 2**31 - 1, (1,)))
    return {"steps": steps, "sequences": out.sequences, "tokens_per_forward": out.tokens_per_forward, "prompt_length": longest, "next_draw": next_draw}


def write(path, run, prompts, config, seed, **attributes):
    """One HDF5 file in the layout of a trace; batches keep an axis B after S."""
    batch = len(prompts)
    squeeze = (lambda t: t[0]) if batch == 1 else (lambda t: t)
    with h5py.File(path, "w", libver="earliest", track_order=False) as f:
        put = lambda name, data, dtype: f.create_dataset(name, data=np.asarray(data).astype(dtype), compression="gzip", shuffle=True)
        put("tokens", squeeze(run["sequences"][:, run["prompt_length"]:]).numpy(), "i4")
        put("tokens_per_forward", np.atleast_1d(run["tokens_per_forward"].numpy()), "f4")
        for i, prompt in enumerate(prompts):
            put(f"prompts/{i}", prompt, "i4")
        for name, dtype in [("canvas_idx", "i4"), ("step_idx", "i4"), ("temperature", "f4")]:
            f.create_dataset(f"steps/{name}", data=np.array([s[name] for s in run["steps"]], dtype))
        for name, dtype in [("canvas_in", "i4"), ("candidate", "i4"), ("argmax", "i4"), ("accepted", "u1"), ("entropy_nats", "f4"), ("canvas_out", "i4"), ("logits", "f4")]:
            put(f"steps/{name}", np.stack([squeeze(s[name]).numpy() for s in run["steps"]]), dtype)
        put("steps/gap", np.stack([s["gap"].numpy() for s in run["steps"]]), "f4")
        put("steps/frozen", np.stack([s["frozen"].numpy() for s in run["steps"]]), "u1")
        f.attrs["seed"] = np.int64(seed)
        f.attrs["batch"] = np.int64(batch)
        f.attrs["next_draw"] = np.int64(run["next_draw"])
        for key, value in attributes.items():
            if isinstance(value, np.ndarray):
                f.create_dataset(key, data=value)
            else:
                f.attrs[key] = value


def rounding_deviation(model, run, prompts):
    """The reference against itself: default attention and experts against eager ones, on the first canvas's steps.

    Returns the largest |difference| over the step's largest |logit|."""
    worst = 0.0
    states = {}
    for backend in ("sdpa", "eager"):
        model.set_attn_implementation(backend)
        model.set_experts_implementation("eager" if backend == "eager" else "grouped_mm")
        out, feedback = [], None
        with torch.no_grad():
            cache = model.model.encoder(input_ids=torch.tensor([prompts[0]])).past_key_values
            for s in run["steps"]:
                if s["canvas_idx"] > 0:
                    break
                logits = model(decoder_input_ids=s["canvas_in"][:1], self_conditioning_logits=feedback, past_key_values=cache).logits
                out.append(logits)
                feedback = (logits / s["temperature"]).to(model.dtype)  # its own: what feedback makes of rounding belongs to it
        states[backend] = out
    model.set_attn_implementation("sdpa")
    model.set_experts_implementation("grouped_mm")
    for a, b in zip(states["sdpa"], states["eager"]):
        worst = max(worst, float((a - b).abs().max() / a.abs().max()))
    return worst


def bf16_error(model, run, prompts):
    """The reference's bf16 logits against its f32 ones, canvas and feedback forced, on the first canvas's steps of row 0.

    Returns per step [S0]: the median over positions of the root mean square over the vocabulary (gpu.md 4.1, last row)."""
    half = copy.deepcopy(model).to(torch.bfloat16)
    out, feedback = [], None
    with torch.no_grad():
        cache = half.model.encoder(input_ids=torch.tensor([prompts[0]])).past_key_values
        for s in run["steps"]:
            if s["canvas_idx"] > 0:
                break
            logits = half(decoder_input_ids=s["canvas_in"][:1], self_conditioning_logits=feedback, past_key_values=cache).logits.float()
            out.append(float((logits - s["logits"][:1]).pow(2).mean(-1).sqrt().median()))
            feedback = (s["logits"][:1] / s["temperature"]).to(torch.bfloat16)
    return np.array(out, "f4")


def save(model, config, folder):
    model.generation_config = config
    model.save_pretrained(folder, safe_serialization=True)
    for name in os.listdir(folder):
        if name.endswith(".json"):
            json.load(open(os.path.join(folder, name)))
