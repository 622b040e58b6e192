"""Images of a run beside each other: exact copies, near-duplicates, clusters, and an order by similarity."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from initpools_cli.core.errors import UserError
from initpools_cli.core.rundir import FinishedStep
from initpools_cli.core.seeds import generator
from initpools_cli.labeling.loop_embeddings import of_loop
from initpools_cli.steps.context import Context
from initpools_cli.steps.find_embeddings import find_embeddings

#: Clusters are made from at most this many directions of the embeddings.
DIRECTIONS = 64
#: Images in a cluster on average, and the largest number of clusters.
PER_CLUSTER, MOST_CLUSTERS = 50, 100


class RunImages:
    """Groups and neighbors of the train images of a run, computed when they are first asked for.

    The embeddings are those of the labeling loop, else the newest. Nothing is embedded here: without embeddings there
    are no neighbors.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        context.loop_embeddings = of_loop
        # Two windows may ask for the same array at the same time.
        self._lock = threading.Lock()
        self._orders: dict[bytes, NDArray[np.int64]] = {}

    def prepare(self, names: Collection[str], rows: NDArray[np.int64]) -> None:
        """Compute groups (``group``), clusters (``cluster``) or the order of `rows` (``similar``) if there are none."""
        if "group" in names:
            self.groups(compute=True)
        if "cluster" in names:
            self.clusters(compute=True)
        if "similar" in names:
            self.similarity_places(rows, compute=True)

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """The group of exact copies of each train image, (n,) int64, named by its lowest row."""
        from initpools_cli.datasets.copies import exact_groups

        return exact_groups(self._context.data.train_items, self._context.data.kept)

    def copies_of(self, index: int) -> list[int]:
        """Return the other train images with the same content."""
        rows = np.flatnonzero(self.copies == self.copies[index])
        return [row for row in rows.tolist() if row != index]

    def copy_counts(self, indices: Iterable[int]) -> dict[int, int]:
        """Return the number of other images with the same content, for images that have any."""
        sizes = np.bincount(self.copies, minlength=len(self.copies))[self.copies]
        return {index: int(sizes[index]) - 1 for index in indices if sizes[index] > 1}

    def groups(self, *, compute: bool) -> NDArray[np.int64]:
        """Return groups of near-duplicates in the form of `copies`; those of exact copies if no others are known.

        Parameters
        ----------
        compute : bool
            Whether to search for near-duplicates if no step has; it can take a minute.
        """
        from initpools_cli.steps.near_duplicates import NEAR, duplicate_groups

        has_groups = self._embed_step is not None and NEAR in self._embed_step.facts["writes"]
        if not (has_groups or compute or "_near" in self.__dict__):
            return self.copies
        with self._lock:
            if "_near" not in self.__dict__:
                self._near = duplicate_groups(self._context, self._embed_step).near
        return self._near

    def clusters(self, *, compute: bool) -> NDArray[np.int64] | None:
        """Return the cluster of each train image: of a pretext task, else by k-means; None if there is none.

        Parameters
        ----------
        compute : bool
            Whether to make clusters of the embeddings if there are none yet.
        """
        with self._lock:
            if "_clusters" not in self.__dict__:
                clusters = self._pretrained_clusters()
                if clusters is None and compute:
                    clusters = self._by_kmeans()
                if clusters is None and not compute:
                    return None
                self._clusters = clusters
        return self._clusters

    def similarity_places(self, rows: NDArray[np.int64], *, compute: bool) -> NDArray[np.int64] | None:
        """Return the place of some train images in an order of them by similarity.

        Parameters
        ----------
        rows : (m,) int64
        compute : bool
            Whether to make the order if there is none yet; it takes about 10 seconds for 50,000 images.

        Returns
        -------
        (m,) int64 or None
            None without embeddings, or if there is no order yet.
        """
        from initpools_cli.geometry.similarity_order import TREE_ROWS, similarity_order

        with self._lock:
            key = rows.tobytes()
            if key not in self._orders and compute:
                # A tree of few images is fast in all dimensions, and a little better.
                points = self._directions if len(rows) <= TREE_ROWS else self._few_directions()
                if points is not None:
                    order = similarity_order(points[rows], generator(self._context.seed, "page order"))
                    self._orders[key] = np.argsort(order)
            return self._orders.get(key)

    def similar(self, index: int, count: int, among: NDArray[np.int64]) -> tuple[list[int], list[float]]:
        """Return the images with the most similar embeddings (cosine), most similar first, and their similarity.

        Parameters
        ----------
        index : int
            The train row; it is not among the result.
        count : int
        among : (m,) int64
            The train rows to search.

        Raises
        ------
        UserError
            If the run has no embeddings.
        """
        points = self._directions
        if points is None:
            raise UserError(
                f"The run {self._context.run.path} has no embeddings, so there are no similar images.",
                f"Make them with `{self._context.command_for('embed')}`, and start the page again.",
                self._context.run.path,
            )
        among = among[among != index]
        similarity = points[among] @ points[index]
        nearest = np.argsort(-similarity, kind="stable")[:count]
        return among[nearest].tolist(), [round(float(each), 4) for each in similarity[nearest]]

    @cached_property
    def _embed_step(self) -> FinishedStep | None:
        return find_embeddings(self._context)

    @cached_property
    def _directions(self) -> NDArray[np.float32] | None:
        """The embeddings as unit vectors, (n, d) float32."""
        if self._embed_step is None:
            return None
        points = self._embed_step.array("train.npy", mapped=True)
        norms = np.linalg.norm(points, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.asarray(points / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)
        return unit

    def _pretrained_clusters(self) -> NDArray[np.int64] | None:
        from initpools_cli.steps.clusters import CLUSTERS

        steps = [step for step in self._context.run.steps("pretrain") if CLUSTERS in step.facts["writes"]]
        if not steps:
            return None
        clusters: NDArray[np.int64] = steps[-1].array(CLUSTERS).astype(np.int64)
        return clusters if len(clusters) == len(self._context.data.kept) else None

    def _few_directions(self) -> NDArray[np.float32] | None:
        """The embeddings in at most `DIRECTIONS` dimensions, (n, d) float32."""
        points = self._directions
        if points is None or points.shape[1] <= DIRECTIONS:
            return points
        # A random projection keeps distances well enough for groups to look at, and is 20 times faster.
        rng = generator(self._context.seed, "page clusters")
        return np.ascontiguousarray(points @ rng.standard_normal((points.shape[1], DIRECTIONS), dtype=np.float32))

    def _by_kmeans(self) -> NDArray[np.int64] | None:
        from initpools_cli.geometry.kmeans import kmeans

        points = self._few_directions()
        if points is None:
            return None
        rows = np.flatnonzero(self._context.data.kept)
        k = int(np.clip(len(rows) // PER_CLUSTER, 1, MOST_CLUSTERS))
        clusters = np.full(len(points), -1, dtype=np.int64)
        rng = generator(self._context.seed, "page kmeans")
        clusters[rows] = kmeans(np.ascontiguousarray(points[rows]), k, rng).labels
        return clusters
