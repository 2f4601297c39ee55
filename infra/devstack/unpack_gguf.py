"""Turn one GGUF file into a Hugging Face folder. Runs in the engine's environment, as a program of its own:

python -m infra.devstack.unpack_gguf MODEL.gguf FOLDER
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def unpack(weights: Path, folder: Path) -> None:
    """Write tokenizer, chat template, configuration and float32 weights into `folder`."""
    source, file = str(weights.parent), weights.name
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(folder)
    # Without dequantize=True the weights stay packed, and packed weights cannot be saved.
    unpacked = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=file, dtype=torch.float32, quantization_config=unpacked
    )
    model.save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Turn one GGUF file into a Hugging Face folder.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    unpack(arguments.weights, arguments.folder)
