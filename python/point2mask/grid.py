"""The steps (dy, dx) to a pixel's neighbours, the same table as in ``point2mask/grid.hpp``."""

OFFSETS = ((1, 0), (0, 1), (1, 1), (1, -1), (-1, 0), (0, -1), (-1, -1), (-1, 1))
