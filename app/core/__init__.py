"""The field's words: values, parameters, errors and ports. Standard library and NumPy only."""
