"""Variants of the encoder, trained and measured alike: ``make compare-encoders``.

Short fits: they show which variant is worth a long one. Sets that no variant is chosen by, so that
the chosen one can be checked on them, stay out.
"""
