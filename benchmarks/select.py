"""Claims on choosing a pool: faster than the peers by the factors below, with at most twice the embeddings' memory.

| strategy          | against                                            | size             | at least |
|-------------------|----------------------------------------------------|------------------|----------|
| kcenter           | plain loops in NumPy and torch                     | 50,000, 1,000    | 4 times  |
| kcenter           | lightly-mundig (the engine of lightly-studio)      | 50,000, 1,000    | 3 times  |
| typicality        | lightly-mundig                                     | 20,000, 100      | 10 times |
| typiclust         | scikit-activeml                                    | 20,000, 100      | 5 times  |
| probcover         | scikit-activeml                                    | 20,000, 100      | 8 times  |
| maxherding        | scikit-activeml                                    | 20,000, 100      | 20 times |
| facility-location | apricot                                            | 20,000, 100      | 4 times  |
| kcenter           | a full ranking of 90,000 images by 9 logits each   | 90,000, 90,000   | in 60 s  |

Sizes are images and budget, at 512 dimensions. k-center picks what the plain loop picks, but for ties. Memory is the
peak above a process that has imported the same modules and loaded the array. Graph cut, k-means, k-means++ and
ActiveFT run against apricot, scikit-learn and a plain torch loop without a claim, and every strategy that needs
embeddings alone runs by itself at 50,000 images and a budget of 1,000.

All of a comparison run on the same array in the same process with the same threads, by turns, and the best of three
counts (one that takes more than a minute runs once). Imports are not timed, nor bringing the array into a form that a
peer needs. Memory is of processes of their own. What is compared with what, and how, is in comparisons.py.

    pip install scikit-activeml apricot-select lightly-mundig
    python benchmarks/select.py [NAME[:knob=value,...] ...] [--n N] [--d D] [--budget B] [--data FILE.npy] [--threads T]
                                [--once]

facility-location and typiclust miss their factors. Facility location spends most of its time in products in float32.
Two ways to save some did not help: to update only the candidates whose bound reaches the best gain (the first picks
change the gains of most images, so there are as many products), and products in bfloat16 (torch rounds the similarities
to bfloat16, too, and the rounding errors of all images add up to more than the gains of later picks, so that most
candidates would be measured again). Typiclust spends most of its time in k-means.

A name with knobs runs against the same strategy with its defaults, and shows so what an approximation gains and loses.
With --once each runs once, and times and memory are left out. Without names everything runs (an hour and a half). Adds
lines to benchmarks/results/select.csv.
"""

from __future__ import annotations

if __name__ == "__main__":
    from comparisons import main

    main()
else:
    # The folder of a running script comes first on the path, and so every benchmark finds this file where the standard
    # library asks for its own module of the same name. It is handed that one.
    import sys
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec
    from pathlib import Path

    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    spec = PathFinder.find_spec("select", elsewhere)
    sys.modules["select"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["select"])
