"""Networks for those who serve them: as SavedModels, and in the formats of ONNX, LiteRT and OpenVINO."""
