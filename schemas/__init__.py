"""The contracts of Chorus: what goes in, what comes out, and the settings file.

Nothing here imports another package of the project or anything heavy, so a producer or a
consumer can use the contracts alone.
"""
