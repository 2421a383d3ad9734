"""Figures drawn from tables; nothing here computes, and nothing here needs torch."""
