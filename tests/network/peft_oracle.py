"""LoRA adapters by PEFT itself (0.21.2, with transformers 5.17.0). tests/network/golden_lora is what the first makes of goldens/base.

   python peft_oracle.py make BASE FOLDER [SEED]     an adapter with random factors, saved by PEFT, and reference.h5: a generation with it
   python peft_oracle.py read BASE ADAPTER FILE.h5   a generation with an adapter that PEFT loads from its folder
"""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
import reference as ref
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import DiffusionGemmaForBlockDiffusion

PROMPT = [2, 17, 9, 33, 5, 8, 71, 14, 60, 3]
LINEAR = r"model\.(encoder\.language_model|decoder)\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj|router\.proj)"


def write_run(model, path):
    config = ref.generation_config()  # that of goldens/base
    run = ref.record(model, [PROMPT], config, 5)
    ref.write(path, run, [PROMPT], config, 5, self_deviation=ref.rounding_deviation(model, run, [PROMPT]))


def main():
    mode, base = sys.argv[1], sys.argv[2]
    model = DiffusionGemmaForBlockDiffusion.from_pretrained(base).eval()
    if mode == "read":
        PeftModel.from_pretrained(model, sys.argv[3])  # wraps the model's layers in place
        return write_run(model, sys.argv[4])
    folder = sys.argv[3]
    # Encoder and decoder share weights, but PEFT wraps their layers apart: their factors differ.
    torch.manual_seed(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    config = LoraConfig(r=2, lora_alpha=3, target_modules=LINEAR, target_parameters=["experts.gate_up_proj", "experts.down_proj"], rank_pattern={r"1\.self_attn\.q_proj": 3},
                        alpha_pattern={"experts.down_proj": 5}, init_lora_weights=False)
    peft = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape))
    peft.peft_config["default"].base_model_name_or_path = os.path.relpath(base, folder)
    peft.save_pretrained(folder)
    if os.path.exists(os.path.join(folder, "README.md")):
        os.remove(os.path.join(folder, "README.md"))
    write_run(model, os.path.join(folder, "reference.h5"))


if __name__ == "__main__":
    main()
