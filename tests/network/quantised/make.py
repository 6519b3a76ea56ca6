"""Random checkpoints in published quantised layouts, with the SHA-256 of every weight read out in f32.

Written from the layouts' descriptions with numpy alone and without a line of the program: codes and scales are drawn, then decoded by the formulas.
python make.py writes the folders beside this file; python make.py --check also compares with the packages gguf and compressed-tensors.
"""
import hashlib
import json
import os
import struct
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(20260725)


def config(hidden, dense, moe, experts):
    return {"model_type": "diffusion_gemma", "canvas_length": 8, "eos_token_id": 1, "tie_word_embeddings": True,
            "text_config": {"model_type": "diffusion_gemma_text", "vocab_size": 64, "hidden_size": hidden, "intermediate_size": dense, "moe_intermediate_size": moe, "num_experts": experts,
                            "top_k_experts": 2, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "global_head_dim": 32,
                            "num_global_key_value_heads": 1, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}}


def shapes(c):
    """Names and shapes of the plain checkpoint."""
    t = c["text_config"]
    D, F, M, E, V = t["hidden_size"], t["intermediate_size"], t["moe_intermediate_size"], t["num_experts"], t["vocab_size"]
    d = "model.decoder."
    out = {d + "embed_tokens.weight": (V, D), d + "norm.weight": (D,), d + "self_conditioning.pre_norm.weight": (D,), d + "self_conditioning.gate_proj.weight": (F, D),
           d + "self_conditioning.up_proj.weight": (F, D), d + "self_conditioning.down_proj.weight": (D, F)}
    for i in range(2):
        full = i == 1
        H, Dh = 2, 32 if full else 16
        l = f"{d}layers.{i}."
        out.update({l + "self_attn.q_proj.weight": (H * Dh, D), l + "self_attn.k_proj.weight": (Dh, D), l + "self_attn.o_proj.weight": (D, H * Dh), l + "self_attn.q_norm.weight": (Dh,),
                    l + "self_attn.k_norm.weight": (Dh,), l + "mlp.gate_proj.weight": (F, D), l + "mlp.up_proj.weight": (F, D), l + "mlp.down_proj.weight": (D, F), l + "router.proj.weight": (E, D),
                    l + "router.scale": (D,), l + "router.per_expert_scale": (E,), l + "experts.gate_up_proj": (E, 2 * M, D), l + "experts.down_proj": (E, D, M), l + "layer_scalar": (1,),
                    f"model.encoder.language_model.layers.{i}.layer_scalar": (1,)})
        if not full:
            out[l + "self_attn.v_proj.weight"] = (Dh, D)
        for norm in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm_1", "pre_feedforward_layernorm_2", "post_feedforward_layernorm_2",
                     "post_feedforward_layernorm"):
            out[f"{l}{norm}.weight"] = (D,)
    return out


def is_layer_matrix(name):
    return any(part in name for part in (".self_attn.", ".mlp.", ".experts.")) and "norm" not in name


# --- Numbers.

def bf16(shape):
    """Random bf16 codes of numbers around 0.05, and their values."""
    values = (rng.standard_normal(shape) * 0.05).astype(np.float32)
    codes = (values.view(np.uint32) >> 16).astype(np.uint16)
    return codes, (codes.astype(np.uint32) << 16).view(np.float32)


def e4m3_values(codes):
    exponent, mantissa = (codes >> 3 & 15).astype(np.float64), (codes & 7).astype(np.float64)
    magnitude = np.where(exponent == 0, mantissa / 8 * 2.0 ** -6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))
    return np.where(codes & 128, -magnitude, magnitude).astype(np.float32)


def e4m3(shape, positive=False):
    codes = rng.integers(0, 127 if positive else 256, shape).astype(np.uint8)
    codes[(codes & 127) == 127] = 0x40
    return codes, e4m3_values(codes)


E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def pack_nibbles(codes):
    """Even columns in the low nibbles."""
    return (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8)


# --- Layouts of safetensors: each returns the tensors of one matrix and its values.

def fp8(base, shape):
    codes, values = e4m3(shape)
    scale_codes, scales = bf16((shape[0], 1))
    return {base + ".weight": ("F8_E4M3", codes), base + ".weight_scale": ("BF16", scale_codes)}, values * scales


def nvfp4(base, shape, divides):
    codes = rng.integers(0, 16, shape).astype(np.uint8)
    scale_codes, scales = e4m3((shape[0], shape[1] // 16), positive=True)
    whole = np.float32(rng.uniform(500, 3000))
    if not divides:
        whole = np.float32(1) / whole
    by_group = (scales / whole if divides else scales * whole).astype(np.float32)
    values = E2M1[codes] * np.repeat(by_group, 16, axis=1)
    one = np.float32(rng.uniform(1, 9))
    if divides:
        return {base + ".weight_packed": ("U8", pack_nibbles(codes)), base + ".weight_scale": ("F8_E4M3", scale_codes), base + ".weight_global_scale": ("F32", np.array([whole])),
                base + ".input_global_scale": ("F32", np.array([one]))}, values
    return {base + ".weight": ("U8", pack_nibbles(codes)), base + ".weight_scale": ("F8_E4M3", scale_codes), base + ".weight_scale_2": ("F32", np.array(whole)), base + ".input_scale": ("F32", np.array(one))}, values


def int4(base, shape):
    group = 16
    codes = rng.integers(0, 16, shape).astype(np.uint8)
    scale_codes, scales = bf16((shape[0], shape[1] // group))
    values = (codes.astype(np.float32) - 8) * np.repeat(scales, group, axis=1)
    words = np.zeros((shape[0], shape[1] // 8), np.uint32)
    for i in range(8):
        words |= codes[:, i::8].astype(np.uint32) << 4 * i
    return {base + ".weight_packed": ("I32", words.view(np.int32)), base + ".weight_scale": ("BF16", scale_codes), base + ".weight_shape": ("I64", np.array(shape, np.int64))}, values


def write_safetensors(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, array) in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def write_expected(folder, values):
    with open(os.path.join(folder, "expected.json"), "w") as f:
        json.dump({name: hashlib.sha256(np.ascontiguousarray(v, np.float32).tobytes()).hexdigest() for name, v in sorted(values.items())}, f, indent=1)
        f.write("\n")


def make_safetensors(name, layout, quantised):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    c = config(32, 32, 16, 3)
    tensors, values = {}, {}
    for tensor, shape in shapes(c).items():
        if not quantised(tensor):
            codes, values[tensor] = bf16(shape)
            tensors[tensor] = ("BF16", codes)
        elif len(shape) == 2:
            more, values[tensor] = layout(tensor[: -len(".weight")], shape)
            tensors.update(more)
        else:
            experts = []
            for e in range(shape[0]):
                prefix = tensor[: tensor.rfind(".")] + f".{e}."
                rows = shape[1] // 2 if tensor.endswith("gate_up_proj") else shape[1]
                parts = []
                for projection in (("gate_proj", "up_proj") if tensor.endswith("gate_up_proj") else ("down_proj",)):
                    more, v = layout(prefix + projection, (rows, shape[2]))
                    tensors.update(more)
                    parts.append(v)
                experts.append(np.concatenate(parts))
            values[tensor] = np.stack(experts)
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(c, f, indent=1)
    write_expected(folder, values)
    return tensors, values


# --- GGUF. A block type: bytes a block, and how n blocks are decoded.

def half(raw, at):
    return np.ascontiguousarray(raw[:, at:at + 2]).view(np.float16).astype(np.float64)


def nibbles(raw):
    return np.concatenate([raw & 15, raw >> 4], axis=1).astype(np.int64)


def fifth_bits(raw):
    return np.unpackbits(raw, axis=1, bitorder="little").astype(np.int64)


def q5_0(b):
    return half(b, 0) * ((nibbles(b[:, 6:22]) | fifth_bits(b[:, 2:6]) << 4) - 16)


def q5_1(b):
    return half(b, 0) * (nibbles(b[:, 8:24]) | fifth_bits(b[:, 4:8]) << 4) + half(b, 2)


def q8_0(b):
    return half(b, 0) * b[:, 2:34].view(np.int8).astype(np.float64)


def iq4_nl(b):
    table = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float64)
    return half(b, 0) * table[nibbles(b[:, 2:18])]


def k_scales(s):
    s = s.astype(np.int64)
    scales = np.concatenate([s[:, 0:4] & 63, (s[:, 8:12] & 15) | s[:, 0:4] >> 6 << 4], axis=1)
    minima = np.concatenate([s[:, 4:8] & 63, s[:, 8:12] >> 4 | s[:, 4:8] >> 6 << 4], axis=1)
    return np.repeat(scales, 32, axis=1), np.repeat(minima, 32, axis=1)


def k_nibbles(raw):
    return np.concatenate([nibbles(raw[:, 32 * c:32 * c + 32]) for c in range(4)], axis=1)


def q4_k(b):
    scales, minima = k_scales(b[:, 4:16])
    return half(b, 0) * scales * k_nibbles(b[:, 16:144]) - half(b, 2) * minima


def q5_k(b):
    scales, minima = k_scales(b[:, 4:16])
    fifth = np.concatenate([b[:, 16:48] >> j & 1 for j in range(8)], axis=1).astype(np.int64)
    return half(b, 0) * scales * (k_nibbles(b[:, 48:176]) | fifth << 4) - half(b, 2) * minima


def q6_k(b):
    halves = []
    for h in range(2):
        low, high = nibbles(b[:, 64 * h:64 * h + 64]), b[:, 128 + 32 * h:160 + 32 * h]
        halves.append(low | np.concatenate([high >> 2 * j & 3 for j in range(4)], axis=1).astype(np.int64) << 4)
    return half(b, 208) * np.repeat(b[:, 192:208].view(np.int8).astype(np.float64), 16, axis=1) * (np.concatenate(halves, axis=1) - 32)


# name: ggml's number, numbers a block, bytes a block, decoder, places of f16 fields
BLOCKS = {"Q5_0": (6, 32, 22, q5_0, [0]), "Q5_1": (7, 32, 24, q5_1, [0, 2]), "Q8_0": (8, 32, 34, q8_0, [0]), "Q4_K": (12, 256, 144, q4_k, [0, 2]), "Q5_K": (13, 256, 176, q5_k, [0, 2]),
          "Q6_K": (14, 256, 210, q6_k, [208]), "IQ4_NL": (20, 32, 18, iq4_nl, [0])}


def blocks(kind, shape):
    _, size, width, decode, halves = BLOCKS[kind]
    raw = rng.integers(0, 256, (int(np.prod(shape)) // size, width)).astype(np.uint8)
    for at in halves:
        raw[:, at:at + 2] = (rng.standard_normal((len(raw), 1)) * 1e-3).astype(np.float16).view(np.uint8)
    return raw, decode(raw).astype(np.float32).reshape(shape)


GGUF_LAYER = {"input_layernorm.weight": "attn_norm.weight", "self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight", "self_attn.v_proj.weight": "attn_v.weight",
              "self_attn.o_proj.weight": "attn_output.weight", "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
              "post_attention_layernorm.weight": "post_attention_norm.weight", "pre_feedforward_layernorm.weight": "ffn_norm.weight", "mlp.gate_proj.weight": "ffn_gate.weight",
              "mlp.up_proj.weight": "ffn_up.weight", "mlp.down_proj.weight": "ffn_down.weight", "post_feedforward_layernorm_1.weight": "post_ffw_norm_1.weight",
              "pre_feedforward_layernorm_2.weight": "pre_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight": "post_ffw_norm_2.weight", "post_feedforward_layernorm.weight": "post_ffw_norm.weight",
              "router.proj.weight": "ffn_gate_inp.weight", "router.scale": "ffn_gate_inp.scale", "router.per_expert_scale": "ffn_down_exps.scale", "experts.gate_up_proj": "ffn_gate_up_exps.weight",
              "experts.down_proj": "ffn_down_exps.weight", "layer_scalar": "layer_output_scale.weight"}


def gguf_name(name):
    top = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight", "self_conditioning.pre_norm.weight": "self_cond_pre_norm.weight",
           "self_conditioning.gate_proj.weight": "self_cond_gate.weight", "self_conditioning.up_proj.weight": "self_cond_up.weight", "self_conditioning.down_proj.weight": "self_cond_down.weight"}
    parts = name.split(".")
    if parts[1] == "encoder":
        return f"blk.{parts[4]}.enc_layer_output_scale.weight"
    rest = name[len("model.decoder."):]
    return top[rest] if rest in top else f"blk.{parts[3]}.{GGUF_LAYER['.'.join(parts[4:])]}"


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def write_gguf(path, tensors):
    """tensors: name -> (ggml's type number, shape, bytes)."""
    keys = [text("general.architecture") + struct.pack("<I", 8) + text("diffusion-gemma"), text("general.alignment") + struct.pack("<II", 4, 64),
            text("diffusion-gemma.attention.head_count_kv") + struct.pack("<IIQ2I", 9, 4, 2, 1, 1), text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("<pad>") + text("<eos>"),
            text("diffusion-gemma.rope.freq_base") + struct.pack("<If", 6, 1e6)]
    table, data = b"", b""
    for name, (number, shape, raw) in tensors.items():
        data += b"\0" * (-len(data) % 64)
        table += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", number, len(data))
        data += raw
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + table
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 64) + data)


def make_gguf():
    folder = os.path.join(HERE, "gguf")
    os.makedirs(folder, exist_ok=True)
    c = config(256, 32, 32, 2)
    tensors, values, drawn = {"rope_freqs.weight": (0, (16,), np.ones(16, np.float32).tobytes())}, {}, {}
    wide, narrow = ["Q4_K", "Q5_K", "Q6_K", "Q4_K"], ["Q5_0", "Q5_1", "Q8_0", "IQ4_NL"]
    for turn, (name, shape) in enumerate(shapes(c).items()):
        if is_layer_matrix(name) or "embed_tokens" in name or ("self_conditioning" in name and "norm" not in name):
            kind = "Q6_K" if "embed" in name else (wide if shape[-1] % 256 == 0 else narrow)[turn % 4]
            raw, values[name] = blocks(kind, shape)
            drawn[name] = (kind, raw)
            tensors[gguf_name(name)] = (BLOCKS[kind][0], shape, raw.tobytes())
        elif name.endswith("router.proj.weight"):
            v = (rng.standard_normal(shape) * 0.1).astype(np.float16)
            values[name] = v.astype(np.float32)
            tensors[gguf_name(name)] = (1, shape, v.tobytes())
        else:
            values[name] = rng.standard_normal(shape).astype(np.float32)
            tensors[gguf_name(name)] = (0, shape, values[name].tobytes())
    write_gguf(os.path.join(folder, "model-mixed.gguf"), tensors)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(c, f, indent=1)
    write_expected(folder, values)
    return drawn, values


def check_gguf(drawn, values):
    import gguf
    for name, (kind, raw) in drawn.items():
        theirs = gguf.quants.dequantize(raw.reshape(-1), getattr(gguf.GGMLQuantizationType, kind)).reshape(values[name].shape)
        # It rounds scale times code before the minimum, in f32: exact products, one rounding.
        assert np.array_equal(theirs, values[name]), (name, kind, np.abs(theirs - values[name]).max())
    reader = gguf.GGUFReader(os.path.join(HERE, "gguf", "model-mixed.gguf"))
    assert len(reader.tensors) == len(values) + 1
    print("gguf", getattr(gguf, "__version__", ""), "agrees on", sorted({kind for kind, _ in drawn.values()}))


def check_compressed(made):
    import torch
    from compressed_tensors.compressors import pack_quantized
    from compressed_tensors.compressors.nvfp4 import helpers as fp4
    n = 0
    for layout, (tensors, values) in made.items():
        for name, (dtype, codes) in tensors.items():
            if not name.endswith("weight_packed"):
                continue
            base = name[: -len(".weight_packed")]
            if base + ".weight" not in values:
                continue
            scale = tensors[base + ".weight_scale"][1]
            if layout == "nvfp4":
                plain = fp4.unpack_fp4_from_uint8(torch.from_numpy(codes), codes.shape[0], codes.shape[1] * 2, dtype=torch.float32)
                scales = torch.from_numpy(scale).view(torch.float8_e4m3fn).float() / torch.from_numpy(tensors[base + ".weight_global_scale"][1])
            else:
                plain = pack_quantized.unpack_from_int32(torch.from_numpy(codes.copy()), 4, torch.Size(tensors[base + ".weight_shape"][1])).float()
                scales = torch.from_numpy(scale.view(np.int16)).view(torch.bfloat16).float()
            theirs = plain * scales.repeat_interleave(plain.shape[1] // scales.shape[1], 1)
            assert np.array_equal(theirs.numpy(), values[base + ".weight"]), name
            n += 1
    print("compressed-tensors agrees on", n, "matrices")


def main():
    made = {"fp8": make_safetensors("fp8", fp8, is_layer_matrix),
            "nvfp4": make_safetensors("nvfp4", lambda b, s: nvfp4(b, s, True), lambda n: is_layer_matrix(n) and ".self_attn." not in n),
            "modelopt": make_safetensors("modelopt", lambda b, s: nvfp4(b, s, False), lambda n: ".experts." in n),
            "int4": make_safetensors("int4", int4, is_layer_matrix)}
    drawn, values = make_gguf()
    if "--check" in sys.argv:
        check_gguf(drawn, values)
        check_compressed({k: v for k, v in made.items() if k in ("nvfp4", "int4")})


main()
