"""The jobs of a sweep: each whole or not at all, and a failed one taken apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initpools_cli.core.errors import UserError
from initpools_cli.core.files import atomic_file
from initpools_cli.steps.workers import Jobs, Workers

if TYPE_CHECKING:
    from initpools_cli.training.arena import Arena, Block, Draw, Protocol

#: In the work folder of a sweep: how many blocks there are.
PLAN = "plan.toml"


@dataclass
class Solved:
    """What a job came to.

    Attributes
    ----------
    rows : list of dict
        Of rounds.csv; a cell that failed ends with a row that says so.
    picks : list of (k,) int64
        What each cell bought, in order of purchase.
    recalls : list of (c,) float64
        Of each row with status "ok".
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    picks: list[np.ndarray] = field(default_factory=list)
    recalls: list[np.ndarray] = field(default_factory=list)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The rows of the cells that failed."""
        return [row for row in self.rows if row["status"] != "ok"]

    def save(self, file: Path) -> None:
        """One file, whole or not at all."""
        recalls = np.array(self.recalls) if self.recalls else np.empty((0, 0))
        picks = {f"picks-{number:02d}": picks for number, picks in enumerate(self.picks)}
        with atomic_file(file) as stream:
            np.savez(stream, allow_pickle=False, rows=np.array(json.dumps(self.rows)), recalls=recalls, **picks)

    @classmethod
    def load(cls, file: Path) -> Solved:
        """What `save` wrote."""
        with np.load(file, allow_pickle=False) as stored:
            picks = [stored[name] for name in sorted(stored.files) if name.startswith("picks-")]
            return cls(json.loads(str(stored["rows"])), picks, list(stored["recalls"]))


def draw(job: Draw, arena: Arena, protocol: Protocol, device: str) -> Solved:
    """The first pools of a job, on one thread."""
    from initpools_cli.training.machine import one_thread
    from initpools_cli.training.rounds import first_pools

    with one_thread():
        return Solved(picks=first_pools(job, arena, protocol))


def solve(job: Block, arena: Arena, protocol: Protocol, device: str, pools: Sequence[np.ndarray]) -> Solved:
    """A block, on one thread; where it fails, cell by cell, so that one bad cell costs no other."""
    from initpools_cli.training.machine import one_thread

    with one_thread():
        try:
            return _together(job, pools, arena, protocol, device)
        except UserError:
            raise
        except Exception:
            return _apart(job, pools, arena, protocol, device)


def _together(job: Block, pools: Sequence[np.ndarray], arena: Arena, protocol: Protocol, device: str) -> Solved:
    import torch

    from initpools_cli.training.rounds import run_block, start

    cells = start(job, pools, arena, protocol)
    rounds = list(run_block(job, cells, arena, protocol, torch.device(device)))
    measured = [each for cell in zip(*(found for found in rounds if found), strict=True) for each in cell]
    return Solved(
        [each.row for each in measured], [cell.labeled for cell in cells], [each.recalls for each in measured]
    )


def _apart(job: Block, pools: Sequence[np.ndarray], arena: Arena, protocol: Protocol, device: str) -> Solved:
    from dataclasses import replace

    import torch

    from initpools_cli.training.rounds import run_block, start

    found = Solved()
    for index, pool in zip(job.seeds, pools, strict=True):
        cells = start(replace(job, seeds=[index]), [pool], arena, protocol)
        try:
            for measured in run_block(job, cells, arena, protocol, torch.device(device)):
                found.rows += [each.row for each in measured]
                found.recalls += [each.recalls for each in measured]
        except UserError:
            raise
        except Exception as error:
            found.rows.append(_failed(job, index, cells[0].labeled, protocol, error))
        found.picks.append(cells[0].labeled)
    return found


def _failed(job: Block, index: int, labeled: np.ndarray, protocol: Protocol, error: Exception) -> dict[str, Any]:
    """The row of a cell that did not come to its end: the round it failed in and the error, and no metrics."""
    return {
        "init": job.init,
        "query": job.query,
        "learner": job.learner,
        "encoder": job.encoder,
        "seed": index,
        "round": (len(labeled) - protocol.init_budget) // protocol.budget,
        "labeled": len(labeled),
        "validation": protocol.validation,
        "status": "failed",
        "error": f"{type(error).__name__}: {error}",
    }


def run_jobs(
    function: Callable[..., Solved],
    jobs: Jobs,
    folder: Path,
    kind: str,
    workers: Workers,
    advance: Callable[[int, Solved], None],
) -> list[Solved]:
    """Run the jobs that have no file yet, and give the results of all.

    Parameters
    ----------
    function : callable
        Called with a job and its arguments.
    folder : Path
        Where each job's result is written as soon as it is there.
    kind : str
        What its files are called.
    advance : callable
        Told the number and the result of each job, those found done among them.
    """
    files = {number: folder / f"{kind}-{number:05d}.npz" for number, _, _ in jobs}
    found: dict[int, Solved] = {}
    for number, file in files.items():
        if file.exists():
            found[number] = Solved.load(file)
            advance(number, found[number])
    waiting = [(number, job, given) for number, job, given in jobs if number not in found]
    for number, solved in workers.map(function, waiting):
        solved.save(files[number])
        found[number] = solved
        advance(number, solved)
    return [found[number] for number, _, _ in jobs]
