"""Streaming statistics over tokens: update, merge, result; sums are float64."""
