"""Export of networks for serving: as SavedModels, and in the formats of ONNX, LiteRT and OpenVINO."""
