"""Run passes over embeddings in this process or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from initpools_cli.core.cluster import dask_executor
from initpools_cli.core.cpu import available_cores
from initpools_cli.core.errors import UserError
from initpools_cli.core.registry import Registry
from initpools_cli.geometry.rows import on_executor
from initpools_cli.steps.provider import Provider
from initpools_cli.steps.unfinished_calls import command_digest, resumable_calls


@contextmanager
def on_backend(
    provider: Provider, backend: str, scheduler: str, name: str, methods: Registry[Any, Any], partitions: int = 1
) -> Iterator[None]:
    """Context manager in which a strategy or a score reads embeddings on the workers of a cluster.

    Parameters
    ----------
    provider : Provider
        Resolves the inputs of the command.
    backend : {"", "dask"}
        "" for this process.
    scheduler : str
        Address of a Dask scheduler; "" for a cluster of one process per core on this machine.
    name : str
        The strategy or score.
    methods : Registry
        All strategies, or all scores.
    partitions : int
        If > 1, the strategy first selects from this many partitions, each on a worker.

    Raises
    ------
    UserError
        An unknown backend, a scheduler without one, a method that does not read embeddings in blocks, or no cluster.
    """
    if not backend:
        if scheduler:
            raise UserError(f"--scheduler {scheduler} needs a cluster.", "Add --backend dask.", scheduler)
        yield
        return
    if backend != "dask":
        raise UserError(f"--backend {backend} is not valid.", "Use --backend dask, or leave it out.", backend)
    able = [each.name for each in methods if each.traits.distributed or (partitions > 1 and each.traits.partitions)]
    if name not in methods or methods.get(name).name not in able:
        divisible = name in methods and getattr(methods.get(name).traits, "partitions", False)
        raise UserError(
            f"--backend dask has no effect on '{name}', which does not read embeddings in blocks.",
            f"Leave it out, {'add --partitions N, ' if divisible else ''}or use one of {', '.join(able)}.",
            name,
        )
    with (
        dask_executor(scheduler, available_cores()) as executor,
        resumable_calls(executor, command_digest(provider, name, partitions), provider.report) as resumable,
        on_executor(resumable),
    ):
        yield
