"""The numbers of one step, fused over all parameters."""
