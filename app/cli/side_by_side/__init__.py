"""Synthetic prints beside real ones, as pictures and as figures: ``make side-by-side``.

Pictures of real prints are for the eyes of who runs it: they are people's biometrics, lent for
research. Only figures about them leave the build folder.
"""
