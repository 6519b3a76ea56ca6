"""The operators as a researcher meets them: torch.ops.canvaslab in Python's own torch.   operators_oracle.py LIBRARY SEED

Every operator goes through torch.library.opcheck (schema, mutation, fake tensors, dispatch under torch.compile with fixed and free sizes), is compared with the same formula written in f64, and a
layer's worth of them is compiled and exported. Prints what was checked; leaves with 1 where something is wrong."""
import math
import sys

import torch

library, seed = sys.argv[1], int(sys.argv[2])
torch.ops.load_library(library)
torch.manual_seed(seed)
ops = torch.ops.canvaslab
bf16, f32, f64, i32 = torch.bfloat16, torch.float32, torch.float64, torch.int32
failures = []


def worst(name, got, expected, bound):
    """The element farthest outside its bound; NaN lies outside."""
    got, expected, bound = got.to(f64).flatten(), expected.to(f64).flatten(), bound.to(f64).expand(expected.shape).flatten()
    if got.shape != expected.shape:
        return f"{name}: {got.numel()} elements, {expected.numel()} expected"
    excess = torch.nan_to_num((got - expected).abs() - bound, nan=math.inf)
    if excess.numel() == 0 or excess.max() <= 0:
        return ""
    at = excess.argmax().item()
    return f"{name}: element {at} is {got[at]}, expected {expected[at]} within {bound[at]}"


def near(name, got, expected, bound):
    bound = torch.as_tensor(bound)
    if why := worst(name, got, expected, bound):
        failures.append(why)
    shifted = expected.to(f64).clone()
    if shifted.numel() > 0:
        shifted.view(-1)[0] += 3 * bound.to(f64).max() + 1
        if not worst(name, got, shifted, bound):
            failures.append(f"{name}: the comparison does not see a wrong answer")


def there(value):
    """On the GPU."""
    if isinstance(value, torch.Tensor):
        return value.cuda()
    return [there(v) for v in value] if isinstance(value, list) else {k: there(v) for k, v in value.items()} if isinstance(value, dict) else value


def alike(op, cpu, gpu):
    for a, b in zip(cpu, gpu):
        if isinstance(a, (list, tuple)):
            alike(op, a, b)
        elif isinstance(a, torch.Tensor) and a.dtype.is_floating_point:
            size = 1 + torch.nan_to_num(a.to(f64), posinf=0, neginf=0).abs().max() if a.numel() > 0 else torch.tensor(1.0)
            near(f"{op} on the GPU", b.cpu(), a, 2.0**-6 * size)  # results in bf16 and weights of attention round by 2^-8 each
        elif isinstance(a, torch.Tensor) and not torch.equal(a, b.cpu()):
            failures.append(f"{op} on the GPU: {b.cpu()}, {a} on the CPU")


def checked(op, *args, **kwargs):
    """The operator's result on the CPU, after torch's own checks of it; where there is a GPU, these and the result on it as well."""
    if torch.cuda.is_available():
        moved, options = there(list(args)), there(kwargs)
        run_checks(op, *moved, **options)
        results, changed = run_checks(op, *args, **kwargs)(*args, **kwargs), op(*moved, **options)
        alike(op, [results, list(args)], [changed, moved])
        return results
    return run_checks(op, *args, **kwargs)(*args, **kwargs)


def run_checks(op, *args, **kwargs):
    tests = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    if any(getattr(value, "dtype", None) == torch.float8_e4m3fn for value in (*args, *kwargs.values())):
        tests.remove("test_schema")  # compares its arguments before and after, which torch cannot do in this dtype
    for test, outcome in torch.library.opcheck(op, args, kwargs, test_utils=tests, raise_exception=False).items():
        if outcome != "SUCCESS":
            failures.append(f"{op}: {test}: {outcome}")
    return op


def normal(*shape, dtype=f32, scale=1.0):
    return (torch.randn(*shape) * scale).to(dtype)


def gelu(x):
    return torch.nn.functional.gelu(x, approximate="tanh")


def products():
    x = normal(7, 64, dtype=bf16)

    def compare(name, numbers, x_rows, **kwargs):
        weight = kwargs.pop("weight")
        got = checked(ops.product, x_rows, weight, **kwargs)
        a, b = x_rows.to(f64), numbers.to(f64)
        # an f32 sum of K products, its row's scale, one more rounding for a scale that stands inside
        near(name, got, a @ b.T, (x_rows.shape[1] + 3) * 2.0**-24 * (a.abs() @ b.abs().T))

    w = normal(33, 64, dtype=bf16)
    compare("bf16", w, x, weight=w)
    compare("rows of another matrix", w, normal(3, 128, dtype=bf16)[:, :64], weight=w)
    compare("no rows", w, x[:0], weight=w)
    codes = normal(33, 64).to(torch.float8_e4m3fn)
    scale = torch.rand(33) + 0.1
    compare("e4m3", codes.to(f64) * scale.to(f64)[:, None], x, weight=codes, scale=scale)
    packed = torch.randint(0, 256, (33, 32), dtype=torch.uint8)
    nibbles = torch.stack([packed & 15, packed >> 4], -1).reshape(33, 64).long()
    table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=f64)
    e2m1 = table[nibbles]
    groups = (torch.rand(33, 4) + 0.1).to(torch.float8_e4m3fn)
    matrix = torch.tensor(0.37)
    compare("e2m1", e2m1 * groups.to(f64).repeat_interleave(16, 1) * matrix.to(f64), x, weight=packed, group_scales=groups, scale=matrix)
    halves = (torch.rand(33, 2) + 0.1).to(bf16)
    int4 = ((nibbles - 8).to(f32) * halves.to(f32).repeat_interleave(32, 1)).to(bf16)
    compare("int4", int4, x, weight=packed, group_scales=halves)

    both = normal(40, 64, dtype=bf16, scale=0.2)
    gate, up = (x.to(f64) @ both.to(f64).T).chunk(2, 1)
    got = checked(ops.product, x, both, gated=True, dtype=bf16)
    near("gated", got, gelu(gate) * up, 2**-8 * (gelu(gate) * up).abs() + 1e-3)

    expert = torch.randint(0, 5, (7, 2), dtype=i32)
    expert[expert == 3] = 4  # one without rows
    begin, place, source = checked(ops.group_by_expert, expert, 5)
    weights = normal(5, 24, 64, dtype=bf16)
    got = checked(ops.grouped_product, x, weights, begin, source=source, slots=2)
    rows = x.to(f64).repeat_interleave(2, 0)
    expected = torch.einsum("rk,rnk->rn", rows, weights.to(f64)[expert.flatten().long()])
    size = torch.einsum("rk,rnk->rn", rows.abs(), weights.to(f64).abs()[expert.flatten().long()])
    near("grouped", got[place.flatten().long()], expected, 67 * 2.0**-24 * size)
    checked(ops.grouped_product, x[:0], weights, torch.zeros(6, dtype=i32))
    matrices = torch.rand(5) + 0.1
    packed = torch.randint(0, 256, (5, 24, 32), dtype=torch.uint8)
    groups = (torch.rand(5, 24, 4) + 0.1).to(torch.float8_e4m3fn)
    numbers = table[torch.stack([packed & 15, packed >> 4], -1).reshape(5, 24, 64).long()] * groups.to(f64).repeat_interleave(16, 2) * matrices.to(f64)[:, None, None]
    got = checked(ops.grouped_product, x, packed, begin, source=source, slots=2, group_scales=groups, scale=matrices)
    weights = numbers[expert.flatten().long()]
    near("grouped e2m1", got[place.flatten().long()], torch.einsum("rk,rnk->rn", rows, weights), 67 * 2.0**-24 * torch.einsum("rk,rnk->rn", rows.abs(), weights.abs()))


def norm(x, gain=None, eps=1e-6):
    y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return y if gain is None else y * gain.to(f64)


def rows():
    D, S, k = 70, 5, 2
    x, branch, gain, g1 = normal(S, D), normal(S, D, scale=3), normal(D), normal(D)
    parts, branch_gain, parts_gain, weight = normal(S * k, D, dtype=bf16), normal(D), normal(D), normal(S, k)
    place = torch.randperm(S * k).to(i32).reshape(S, k)
    bound = torch.tensor(1e-4)  # sums of squares of 70 numbers and a few roundings of numbers below 100
    y, norms = checked(ops.add_norm, x, branch, gain, [g1, None], [0.5, 1.0], scale=0.7, dtype=f32)
    expected = (x.to(f64) + norm(branch.to(f64), gain)) * 0.7
    near("add_norm", y, expected, bound)
    near("its first norm", norms[0], norm(expected, g1) * 0.5, bound)
    near("its second norm", norms[1], norm(expected), bound)
    y, _ = checked(ops.add_norm, x, branch, gain, [], [], parts=parts, place=place, weight=weight, branch_gain=branch_gain, parts_gain=parts_gain)
    routed = (parts.to(f64)[place.long()] * weight.to(f64)[:, :, None]).sum(1)
    near("add_norm of experts", y, x.to(f64) + norm(norm(branch.to(f64), branch_gain) + norm(routed, parts_gain), gain), bound)
    near("norms", checked(ops.norms, x, [g1], [2.0], dtype=f32)[0], norm(x.to(f64), g1) * 2, bound)
    checked(ops.norms, x[:0], [None, g1, None], [1.0, 1.0, 2.0])
    ids, table, signal = torch.tensor([3, 0, 3, 8, 1], dtype=i32), normal(9, D, dtype=bf16), normal(5, D)
    y, norms = checked(ops.embed_rows, ids, table, [g1], [1.0], scale=8.0, signal=signal, dtype=f32)
    expected = norm(table.to(f64)[ids.long()] * 8 + signal.to(f64))
    near("embed_rows", y, expected, bound)
    near("norm of embed_rows", norms[0], norm(expected, g1), bound)
    both = normal(5, 62, scale=3)
    near("gelu_times", checked(ops.gelu_times, both, dtype=f32), gelu(both[:, :31].to(f64)) * both[:, 31:].to(f64), bound)
    capped, before = normal(5, 31, scale=9), None
    before = capped.clone()
    checked(ops.soft_cap_, capped, 3.0)
    near("soft_cap_", capped, 3 * torch.tanh(before.to(f64) / 3), torch.tensor(2e-6))


def attention():
    B, L, H, Hkv, Dh, P = 2, 5, 4, 2, 16, 11
    q_gain, k_gain = normal(Dh), normal(Dh)
    angle = normal(B * L, Dh // 2, scale=3)
    for values in (True, False):
        mixed = normal(B * L, (H + (2 if values else 1) * Hkv) * Dh)
        q, k, v = checked(ops.head_rows, mixed, q_gain, k_gain, angle.cos(), angle.sin(), H, Hkv, dtype=f32)
        heads = mixed.to(f64).reshape(B * L, -1, Dh)

        def turned(x, gain):
            a, b = norm(x, gain).chunk(2, -1)
            c, s = angle.cos().to(f64)[:, None], angle.sin().to(f64)[:, None]
            return torch.cat([a * c - b * s, b * c + a * s], -1)

        near("q", q, turned(heads[:, :H], q_gain), torch.tensor(2e-5))
        near("k", k, turned(heads[:, H : H + Hkv], k_gain), torch.tensor(2e-5))
        near("v", v, norm(heads[:, -Hkv:]), torch.tensor(2e-5))
    q, k, v = normal(B, L, H, Dh, dtype=bf16, scale=0.5), normal(B, L, Hkv, Dh, dtype=bf16), normal(B, L, Hkv, Dh, dtype=bf16)
    cached_k, cached_v = normal(B, Hkv, P + 3, Dh, dtype=bf16)[:, :, :P], normal(B, Hkv, P + 3, Dh, dtype=bf16)[:, :, :P]
    lengths = torch.tensor([P, 4], dtype=i32)
    first = torch.randint(0, 4, (B, L), dtype=i32)
    end = first + torch.randint(0, 8, (B, L), dtype=i32)
    for kwargs in ({}, {"cached_lengths": lengths}, {"cached_lengths": lengths, "first_key": first, "end_key": end.clamp(max=9)}):
        got = checked(ops.attention, q, cached_k, cached_v, k, v, dtype=f32, **kwargs)
        for b in range(B):
            count = P if "cached_lengths" not in kwargs else lengths[b]
            keys, vals = (torch.cat([c[b, :, :count], f[b].transpose(0, 1)], 1).to(f64).repeat_interleave(H // Hkv, 0) for c, f in ((cached_k, k), (cached_v, v)))
            scores = q[b].to(f64).transpose(0, 1) @ keys.transpose(1, 2)
            if "first_key" in kwargs:
                number = torch.arange(keys.shape[1])
                seen = (number >= first[b][:, None]) & (number < end[b].clamp(max=9)[:, None])
                scores = scores.masked_fill(~seen, -math.inf)
            weights = torch.nan_to_num(torch.softmax(scores, -1))
            near("attention", got[b].transpose(0, 1), weights @ vals, 2.0**-7 * (weights @ vals.abs()) + 1e-6)
    nothing = q.new_empty(B, Hkv, 0, Dh)
    checked(ops.attention, q, nothing, nothing, k, v)


def routing():
    for T, E, k in ((6, 9, 1), (6, 9, 9), (4, 33, 8), (0, 4, 2)):
        logits, scale = normal(T, E, scale=2), normal(E)
        expert, weight = checked(ops.route, logits, scale, k)
        top = torch.softmax(logits.to(f64), -1).topk(k, -1)
        if not torch.equal(expert.long(), top.indices):
            failures.append(f"route: experts {expert} of {top.indices}")
        expected = top.values / top.values.sum(-1, keepdim=True) * scale.to(f64)[top.indices]
        near("route", weight, expected, 2e-6 * expected.abs() + 1e-12)
        begin, place, source = checked(ops.group_by_expert, expert, E)
        if not torch.equal(source.long(), torch.sort(expert.flatten(), stable=True).indices) or not torch.equal(source[place.flatten().long()].long(), torch.arange(T * k)):
            failures.append("group_by_expert: the order is another")


def steps():
    logits, table = normal(3, 50, scale=3), normal(50, 24, dtype=bf16)
    soft, skipped, kept = checked(ops.soft_embedding, logits, table, temperature=0.8, scale=2.0, dtype=f32)
    p = torch.softmax(logits.to(f64) / 0.8, -1)
    near("soft_embedding", soft, 2 * p @ table.to(f64), 2 * 2.0**-8 * (p @ table.to(f64).abs()))
    if kept.item() != 50 or skipped.abs().max() != 0:
        failures.append("soft_embedding: a dense call leaves something out")
    soft, skipped, kept = checked(ops.soft_embedding, logits, table, least=0.01, dtype=f32)
    p = torch.softmax(logits.to(f64), -1)
    counts = p.max(0).values >= 0.01
    near("kept", kept, counts.sum(), torch.tensor(0.5))
    near("skipped", skipped, p[:, ~counts].sum(-1), torch.tensor(1e-6))
    near("sparse soft_embedding", soft, p[:, counts] @ table.to(f64)[counts], 2.0**-8 * (p @ table.to(f64).abs()))

    B, L, V = 2, 6, 40
    logits, canvas = normal(B, L, V, scale=2), torch.randint(0, V, (B, L), dtype=i32)
    draws = torch.tensor([[seed, 1, 0, 2, 3, 0], [seed, 2, 0, 2, 4, 0]])
    temperature = torch.tensor([0.7, 0.0])
    argmax, argmax_logprob, second, _, entropy, candidate, candidate_logprob, current_logprob, _, entropy_t1, bad = checked(ops.row_statistics, logits, canvas, draws, temperature)
    at = torch.log_softmax(logits.to(f64) / torch.tensor([0.7, 1.0])[:, None, None], -1)
    h = -(at.exp() * at).sum(-1)
    near("entropy", entropy, h * torch.tensor([1, 0])[:, None], 1e-5 * (1 + h))
    plain = torch.log_softmax(logits.to(f64), -1)
    near("entropy_t1", entropy_t1, -(plain.exp() * plain).sum(-1), 1e-5 * (1 + h))
    near("argmax_logprob", argmax_logprob, at.max(-1).values, torch.tensor(1e-5))
    near("current_logprob", current_logprob, at.gather(-1, canvas.long()[..., None]).squeeze(-1), torch.tensor(2e-5))
    near("candidate_logprob", candidate_logprob, at.gather(-1, candidate.long()[..., None]).squeeze(-1), torch.tensor(2e-5))
    order = logits.sort(-1, descending=True).indices
    if not torch.equal(argmax.long(), order[..., 0]) or not torch.equal(second.long(), order[..., 1]) or not torch.equal(candidate[1], argmax[1]) or bad.item() != 2**31 - 1:
        failures.append("row_statistics: argmax, second, the greedy candidate or bad_row is another")
    broken = logits.clone()
    broken[1, 2, 5] = math.nan
    if ops.row_statistics(broken, canvas, draws, temperature)[-1].item() != L + 2:
        failures.append("row_statistics: bad_row does not name the first bad row")

    last, equal, bound = argmax.clone(), torch.tensor([-1, 0], dtype=i32), torch.tensor([1.0, 1.0])
    held = canvas.clone()
    allowed = torch.rand(B, L) < 0.8
    accepted, stop = checked(ops.entropy_bound_step, held, last, equal, entropy_t1, candidate, argmax, draws, bound, V, confidence=0.1, allowed=allowed, banned_ids=torch.tensor([0, 7], dtype=i32), mask_id=3)
    for b in range(B):
        total, taken = 0.0, True
        for position in entropy_t1[b].argsort(stable=True).tolist():
            if allowed[b, position]:
                taken = taken and not total > 1.0
                total += entropy_t1[b, position].item()
            holds = candidate[b, position] if taken and allowed[b, position] else 3 if allowed[b, position] else canvas[b, position]
            if accepted[b, position].item() != (taken and allowed[b, position].item()) or held[b, position] != holds:
                failures.append(f"entropy_bound_step: position {position} of canvas {b}")
    if not torch.equal(last, argmax) or equal.tolist() != [0, 1] or stop.tolist() != [False, False]:
        failures.append("entropy_bound_step: what the stop rule knows is another")


def compiled():
    """A block of a layer under torch.compile and torch.export: one graph, the same bits."""

    def block(x, w_qkv, gain, cos, sin, w_o, router, scale, experts):
        (h,) = ops.norms(x, [gain], [1.0])
        q, k, v = ops.head_rows(ops.product(h, w_qkv), gain[:16], gain[:16], cos, sin, 4, 2)
        nothing = q.new_empty(1, 2, 0, 16)
        out = ops.attention(q[None], nothing, nothing, k[None], v[None])
        y, (h,) = ops.add_norm(x, ops.product(out.reshape(-1, 64), w_o), gain, [gain], [1.0])
        expert, weight = ops.route(ops.product(h, router), scale, 2)
        begin, place, source = ops.group_by_expert(expert, 6)
        parts = ops.grouped_product(h, experts, begin, source=source, slots=2)
        y, _ = ops.add_norm(y, y, gain, [], [], parts=parts, place=place, weight=weight, branch_gain=gain, parts_gain=gain)
        ops.soft_cap_(y, 5.0)
        return y

    def arguments(S):
        angle = normal(S, 8)
        return (normal(S, 64), *fixed[:2], angle.cos(), angle.sin(), *fixed[2:])

    fixed = (normal(128, 64, dtype=bf16), normal(64), normal(64, 64, dtype=bf16), normal(6, 64, dtype=bf16), normal(6), normal(6, 64, 64, dtype=bf16))
    fast = torch.compile(block, backend="aot_eager", fullgraph=True, dynamic=True)
    for S in (5, 8, 13):
        given = arguments(S)
        if not torch.equal(fast(*given), block(*given)):
            failures.append(f"torch.compile: other numbers for {S} rows")

    class Block(torch.nn.Module):
        def forward(self, *given):
            return block(*given)

    given = arguments(7)
    exported = torch.export.export(Block(), given)
    names = {str(node.target) for node in exported.graph.nodes if "canvaslab" in str(node.target)}
    if len(names) < 8 or not torch.equal(exported.module()(*given), block(*given)):
        failures.append(f"torch.export: {names}")


print("on this machine's GPU as well" if torch.cuda.is_available() else "without a GPU")
for part in (products, rows, attention, routing, steps, compiled):
    part()
    print(f"{part.__name__}: {len(failures)} failures so far")
if failures:
    print(f"seed {seed}")
for failure in failures:
    print("FAILED:", failure)
sys.exit(1 if failures else 0)
