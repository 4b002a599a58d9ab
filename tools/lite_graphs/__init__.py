"""The graphs of `lite` for ONNX Runtime, without its weights."""
