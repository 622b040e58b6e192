"""Code of the authors of methods, run beside ours on the same inputs.

A comparison is a generator function in `pools`, `queries` or `ensembles`, registered by the method's name and the
folder of a clone that it needs. It yields what it found; `replications.py` records it. The authors' code is imported
from the clone, and only what needs a GPU, a network that is trained or a data set is replaced.
"""

from authors import ensembles, pools, queries
from authors.shims import COMPARISONS, Inputs

__all__ = ["COMPARISONS", "Inputs", "ensembles", "pools", "queries"]
