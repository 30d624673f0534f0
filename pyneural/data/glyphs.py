"""Skeletons of the ten digits, from which :mod:`pyneural.data.digits` draws its images.

Each digit has a few ways of being written. A glyph is a string of strokes separated by ``/``; a stroke is a list of
points ``x,y`` in percent of a box, x to the right and y downwards. A smooth curve (Catmull-Rom) passes through every
point, so what stands here is what the pen touches. A corner is made by ending a stroke and starting another at the
same point; points that coincide stay together because every later distortion is a function of position alone.
"""

from __future__ import annotations

GLYPHS: tuple[tuple[str, ...], ...] = (
    (  # 0: round; narrow with an open top; with an overlapping tail
        "50,0 14,16 2,52 16,86 50,100 84,86 98,50 86,15 50,0",
        "62,2 30,12 12,50 22,88 50,100 80,82 90,42 74,8 50,4",
        "72,14 46,0 12,24 6,66 36,100 78,88 96,46 78,8 42,6",
    ),
    (  # 1: a bare stroke; with a flag; with flag and foot
        "50,0 50,50 50,100",
        "24,24 42,12 54,0 / 54,0 54,50 54,100",
        "22,22 40,12 52,0 / 52,0 52,50 52,100 / 18,100 86,100",
    ),
    (  # 2: with a flat foot; with a loop at the lower left; with a waved foot
        "6,22 30,2 70,2 90,26 66,58 4,100 / 4,100 50,99 98,98",
        "10,18 42,0 80,14 78,44 42,82 14,98 6,84 26,76 56,92 100,98",
        "10,28 26,4 66,0 84,24 62,60 6,96 / 6,96 36,88 64,100 98,88",
    ),
    (  # 3: two bowls; with a flat top; two bowls joined by a small loop
        "10,12 46,0 82,18 66,42 38,48 / 38,48 78,54 92,78 56,100 6,88",
        "10,2 46,3 84,0 / 84,0 64,22 42,42 / 42,42 84,54 88,82 50,100 6,90",
        "14,16 42,0 76,12 68,40 42,50 36,44 52,44 86,62 76,94 38,100 4,82",
    ),
    (  # 4: open; closed; open, with a low bar and a short stem
        "28,2 18,30 4,60 / 4,60 50,60 96,56 / 74,20 70,60 66,100",
        "66,0 36,34 2,68 / 2,68 50,68 100,66 / 66,0 68,50 68,100",
        "14,0 10,34 22,50 54,50 82,42 / 84,2 80,50 74,100",
    ),
    (  # 5: bar and bowl; sloping bar; small bowl
        "90,2 52,1 20,3 / 20,3 16,24 12,46 / 12,46 52,36 90,58 78,90 40,100 4,88",
        "94,0 62,6 34,5 / 34,5 22,28 20,42 / 20,42 60,46 82,68 62,96 6,96",
        "86,6 50,4 30,2 / 30,2 22,26 24,50 / 24,50 58,42 84,64 72,92 38,100 14,86",
    ),
    (  # 6: round; upright; with a wide belly
        "80,4 40,18 10,56 22,92 58,100 88,78 72,52 40,54 14,74",
        "50,0 24,34 16,72 40,99 76,90 84,66 60,50 34,60 20,80",
        "62,0 24,28 4,70 34,100 80,94 96,70 70,54 34,66 16,88",
    ),
    (  # 7: plain; with a bar; with a serif and a bent stem
        "4,4 50,4 94,2 / 94,2 66,46 40,100",
        "6,6 50,5 92,4 / 92,4 64,46 36,100 / 30,52 58,50 88,50",
        "6,20 10,4 / 10,4 46,8 90,2 / 90,2 70,32 58,64 56,100",
    ),
    (  # 8: in one stroke from the upper right; two rings; narrow waist
        "80,14 46,0 18,18 36,42 74,62 82,86 48,100 14,84 28,60 64,42 80,14",
        "50,0 20,10 18,34 50,46 82,34 80,10 50,0 / 50,46 14,58 10,86 50,100 90,86 86,58 50,46",
        "66,6 34,2 24,24 50,46 76,68 66,96 36,98 24,76 50,48 78,22 66,6",
    ),
    (  # 9: with a straight stem; with a curved tail; open ring
        "82,12 48,0 14,20 26,46 60,46 82,12 / 82,12 80,56 74,100",
        "84,22 62,0 24,8 16,36 48,52 80,34 84,22 / 84,22 86,60 66,94 20,94",
        "74,6 36,4 12,28 30,50 62,40 84,8 / 84,8 72,52 46,100",
    ),
)
