"""Comparison score of two templates, exact top-k search, and calibration from score to FMR."""
