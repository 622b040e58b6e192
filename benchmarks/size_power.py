"""Claim: a verdict is false in 5 % of cases if both pools are exchangeable, and more often if differences are skewed.

Paired differences of SEEDS seeds are drawn from distributions with mean 0 and standard deviation 1, and tested against
0; with the mean moved to EFFECT or -EFFECT, the share of tests that find it is the power.

- `size`: share of sign-flip tests with p <= 0.05; `false_better` and `false_worse`: by the sign of the mean.
- `power_up`, `power_down`: share that find a mean of EFFECT and of -EFFECT, with the right sign.
- `cover_t`, `cover_bootstrap`: share of 95 % intervals that contain the mean. `no_bootstrap`: share of draws without a
  bootstrap-t interval. `width`: median ratio of its width to that of the t-interval.

Claim: an interval over seeds and test images contains the difference on all images. Simulated: the logit of being right
is the sum of a method's mean, of the image, of both, and of method and seed; the seeds see the same N test images. The
true difference is the mean over PAIRS pairs of an image and a seed. Share of intervals that contain it: `seeds` (over
seeds), `measured` (with the images' own error), `bound` (with the upper bound from accuracies); `wider` is the median
ratio of the widths of `measured` and `seeds`, `wider_bound` that of `bound`.

    python benchmarks/size_power.py [size-power] [test-split-coverage]        (5 minutes on one core for both)

Writes benchmarks/results/size-power.csv and test-split-coverage.csv.
"""

from __future__ import annotations

import itertools
import sys
from datetime import date

import numpy as np
import scipy
from record import RESULTS, record

from initpools_cli.core.cpu import machine
from initpools_cli.stats.group_variance import over_seeds_and_groups
from initpools_cli.stats.intervals import bootstrap_t_intervals
from initpools_cli.stats.paired import sign_flip
from initpools_cli.stats.split_error import largest_variance, variance_over_images

SEEDS = (6, 9, 12, 20, 30)
EFFECT = 0.8
#: Draws for each distribution and number of seeds; the exact test of 30 differences takes milliseconds.
DRAWS = {30: 2_000}
MOST_DRAWS = 10_000
#: Draws for the test split.
SPLITS = 1000
PAIRS = 2_000_000


def standardized(draw, mean, deviation):
    """A distribution moved and scaled to mean 0 and standard deviation 1."""
    return lambda rng, size: (draw(rng, size) - mean) / deviation


#: By name: the skewness, and a function that draws differences.
DISTRIBUTIONS = {
    "normal": (0.0, standardized(lambda rng, size: rng.normal(size=size), 0, 1)),
    "gamma(4)": (1.0, standardized(lambda rng, size: rng.gamma(4, size=size), 4, 2)),
    "exponential": (2.0, standardized(lambda rng, size: rng.exponential(size=size), 1, 1)),
    "lognormal": (
        6.2,
        standardized(lambda rng, size: rng.lognormal(size=size), np.exp(0.5), np.sqrt((np.e - 1) * np.e)),
    ),
}


def size_and_power(draw, seeds, rng):
    """The columns of one row of size-power.csv."""
    draws = DRAWS.get(seeds, MOST_DRAWS)
    d = draw(rng, (draws, seeds))
    signs = {
        shift: np.array([np.sign(each.mean()) * (sign_flip(each) <= 0.05) for each in d + shift])
        for shift in (0, EFFECT, -EFFECT)
    }
    mean = d.mean(axis=1)
    error = d.std(axis=1, ddof=1) / np.sqrt(seeds)
    reach = scipy.stats.t.ppf(0.975, seeds - 1)
    # In parts, since each holds all resamples of all rows.
    ends = np.concatenate([bootstrap_t_intervals(part, least=2) for part in np.array_split(d, max(1, draws // 200))])
    finite = np.isfinite(ends).all(axis=1)
    low, high = ends[finite].T
    return {
        "draws": draws,
        "size": (signs[0] != 0).mean(),
        "false_better": (signs[0] > 0).mean(),
        "false_worse": (signs[0] < 0).mean(),
        "power_up": (signs[EFFECT] > 0).mean(),
        "power_down": (signs[-EFFECT] < 0).mean(),
        "cover_t": (np.abs(mean) <= reach * error).mean(),
        "cover_bootstrap": ((low <= 0) & (high >= 0)).mean(),
        "no_bootstrap": 1 - finite.mean(),
        "width": np.median((high - low) / (2 * reach * error[finite])),
    }


def chance(images, seeds, spread, rng, paired=False):
    """The probability of being right of two methods, (2, seeds, images); if paired, of one seed for each image."""
    # A skewed effect of the seed: some pools are much worse than most.
    seed = (np.log(2) - rng.exponential(size=(2, images if paired else seeds))) * 0.5
    logits = np.array([[1.6], [1.2]]) + rng.normal(0, 1.5, images) + rng.normal(0, spread, (2, images))
    return 1 / (1 + np.exp(-(logits + seed if paired else logits[:, None] + seed[:, :, None])))


def coverage(images, seeds, spread, rng):
    """The columns of one row of test-split-coverage.csv; `spread` is how much images differ between the methods."""
    hits, wider = np.zeros(3), []
    first, second = chance(PAIRS, PAIRS, spread, rng, paired=True).mean(axis=1)
    truth = first - second
    for _ in range(SPLITS):
        right = chance(images, seeds, spread, rng)
        first, second = rng.random(right.shape) < right
        differences = first.astype(float) - second
        by_seed = differences.mean(axis=1)
        mean, variance = by_seed.mean(), by_seed.var(ddof=1) / seeds
        variances = (
            0.0,
            variance_over_images(differences, np.zeros(images, np.int64), "accuracy"),
            largest_variance(first.mean(), second.mean(), images),
        )
        ends = np.array([over_seeds_and_groups(mean, variance, seeds, each, images)[:2] for each in variances])
        hits += (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        widths = ends[:, 1] - ends[:, 0]
        wider.append(widths[1:] / widths[0])
    shares = dict(zip(("seeds_only", "measured", "bound"), hits / SPLITS, strict=True))
    return shares | dict(zip(("wider", "wider_bound"), np.median(wider, axis=0), strict=True))


def rounded(columns):
    return {name: value if isinstance(value, int) else f"{value:.4f}" for name, value in columns.items()}


def main(names):
    facts = {"date": date.today().isoformat(), **machine(), "numpy": np.__version__, "scipy": scipy.__version__}
    for name in names:
        (RESULTS / f"{name}.csv").unlink(missing_ok=True)
    for (name, (skewness, draw)), seeds in itertools.product(DISTRIBUTIONS.items(), SEEDS):
        if "size-power" in names:
            rng = np.random.default_rng([int(10 * skewness), seeds])
            row = {"differences": name, "skewness": skewness, "seeds": seeds}
            record("size-power", row | rounded(size_and_power(draw, seeds, rng)) | facts)
    for images, seeds, spread in itertools.product((150, 400, 2000), (6, 12, 20), (0.0, 1.0)):
        if "test-split-coverage" in names:
            rng = np.random.default_rng([images, seeds, int(spread)])
            row = {"test_images": images, "seeds": seeds, "spread": spread, "splits": SPLITS}
            record("test-split-coverage", row | rounded(coverage(images, seeds, spread, rng)) | facts)


if __name__ == "__main__":
    main(sys.argv[1:] or ["size-power", "test-split-coverage"])
