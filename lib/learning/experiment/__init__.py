"""Compare task-specific distillation with its baselines on labelled cases, over numbers of labels and seeds."""
