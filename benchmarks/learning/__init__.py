"""Benchmarks of accuracy on procedural CT: networks, ablation, distillation, active learning and click training."""
