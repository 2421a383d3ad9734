"""Why no gradient comes back, in sentences for messages."""


def without_gradient(name: str) -> str:
    """Explain that what passes at a site passes where gradients are switched off."""
    return (
        f"{name} passes with gradients switched off (torch.no_grad, inference_mode, or checkpoint "
        "with use_reentrant=True), so no gradient reaches it. Use use_reentrant=False."
    )


def no_way_back(name: str, error: RuntimeError) -> str:
    """Explain why a backward pass failed."""
    if "use_reentrant" in str(error):
        return (
            f"{name} uses checkpoint with use_reentrant=True, through which gradients of "
            "activations cannot be taken. Use use_reentrant=False; the numbers are the same."
        )
    return f"The backward pass through {name} failed: {str(error).strip().splitlines()[0][:200]}"
