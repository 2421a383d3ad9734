"""What norms, attention and residual paths do to a gradient: functions of tensors, nothing else."""
