"""The registry of scores.

Each is registered with ``high`` (what a high score says of an image) and, where it looks at the labels of the images it
scores, ``oracle=True``: such a score is for studying a data set, not for choosing what to label. The losses of pretext
tasks are scores too, and are registered with their tasks.
"""

from __future__ import annotations

from initpools_cli.core.registry import Registry

scores = Registry("score", "initpools_cli.scores", "initpools list scores")
