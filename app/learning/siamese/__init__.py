"""Siamese networks on pictures of anything: recipes, pairs, fit, protocols."""
