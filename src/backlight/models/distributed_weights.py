"""Weights spread over processes: torch's ``DTensor``, whose module was renamed in torch 2.5."""

try:
    from torch.distributed.tensor import DTensor as DTensor
except ImportError:
    from torch.distributed._tensor import DTensor as DTensor  # pyright: ignore[reportPrivateImportUsage]
