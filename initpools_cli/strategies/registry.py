"""The registry of strategies.

Each is registered with

- ``nested``: whether the picks for a larger budget begin with those for a smaller one;
- ``cost`` in big-O: n images, d dimensions, b budget, k clusters, c classes, t views or iterations, p patches,
  h features that a classifier's last layer sees;
- ``factor``, where it can take more than a minute: how many multiply-adds of a matrix product take as long as one of
  the cost, as measured;
- ``needs_model``, where it asks what a trained model thinks of the images;
- ``check``, where knobs may not fit the embeddings: it is given the arrays and the knobs and refuses what can't be
  meant, once, whether or not the images are then spread over clusters.
"""

from __future__ import annotations

from initpools_cli.core.registry import Registry

strategies = Registry("strategy", "initpools_cli.strategies", "initpools list strategies")
