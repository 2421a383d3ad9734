"""Gradients of dictionary features: the feature pass, and what is added up."""
