"""A diagnosis as one page: findings in words, and what was recorded as charts and maps."""
