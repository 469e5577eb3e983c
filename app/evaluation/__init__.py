"""Data sets by their names, comparison protocols, error rates with intervals, reports and plots."""
