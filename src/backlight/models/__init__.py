"""Models under the light: sites, families, subjects, and how they are loaded and proven.

Nothing is imported here: ``sites`` and ``families`` are plain data and load no torch.
"""
