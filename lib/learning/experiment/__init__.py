"""The experiment of task-specific distillation: arms, numbers of labels and seeds, on anybody's labelled cases."""
