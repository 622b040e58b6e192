"""Rebuild the files that no step writes: run.toml from the steps, items.csv and kept.npy from the data set."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initpools_cli.core.checked_toml import DamagedFile
from initpools_cli.core.errors import UserError
from initpools_cli.core.reporter import Reporter
from initpools_cli.core.rundir import ITEMS, KEPT, LOOP, FinishedStep, Run
from initpools_cli.core.settings import load_settings
from initpools_cli.core.version import version
from initpools_cli.steps.run_data import Identity, absolute, files_of, parse_identity, parse_items, parse_mask

if TYPE_CHECKING:
    from initpools_cli.datasets.spec import Dataset

#: Where damaged steps go, inside the run.
ASIDE = "damaged"
#: What of run.toml is about the files beside it.
OF_FILES = ("schema", "writes", "replacing")


def repair(run: Run, flags: Mapping[str, Any], sets: Sequence[str], config: Path | None, report: Reporter) -> list[str]:
    """Repair a run from its steps and its data set. Nothing is deleted; damaged files are moved aside.

    Parameters
    ----------
    flags : mapping of str to object
        ``dataset.name`` and ``run.seed`` of the user: for runs whose steps do not have them, and for a data set that
        has moved.
    sets : sequence of str
        Further settings of [dataset], as ``key=value``.
    config : Path, optional
        A file of settings.
    report : Reporter
        Prints progress.

    Returns
    -------
    list of str
        A line for each repair.

    Raises
    ------
    UserError
        There is no run, or its steps don't tell what is missing.
    """
    folders = run.folders()
    if not folders and not (run.path / "run.toml").exists():
        raise UserError(f"There is no run in {run.path}.", "Check --run.", run.path)
    lines = [line for step in folders for line in _set_aside(step)]
    steps = run.steps()
    stored_facts = _stored_facts(run)
    facts = stored_facts or _facts_of_steps(steps) or _facts_of_commands(run, steps, flags, sets, config)
    if flags.get("dataset.name"):
        facts = _facts_with_source(run, facts, str(flags["dataset.name"]))
    identity = parse_identity(facts, run)
    sums = {file: _sums(file, facts, () if stored_facts and "writes" in facts else steps) for file in (ITEMS, KEPT)}
    files = _files(run, identity, sums, report)
    if stored_facts and facts != stored_facts:
        _refuse_other(run, identity, files, report)
    return lines + _write(run, facts, files, stored_facts)


# ---- steps


def _set_aside(step: FinishedStep) -> Iterator[str]:
    """Move a step aside if its step.toml or labels.csv is damaged; yield a line with the command to repeat it."""
    try:
        step.facts  # noqa: B018 -- raises an error if it can't be read
        if step.id.startswith(f"{LOOP}/"):
            # The command of a round reads labels.csv of the round before, and can't make this one again.
            step.verified_path("labels.csv")
    except DamagedFile as error:
        target = _free(step.run.path / ASIDE / step.id)
        target.parent.mkdir(parents=True, exist_ok=True)
        step.folder.rename(target)
        again = _command(target)
        how = f" `{again}` makes the step again." if again else ""
        yield f"{step.id}\tmoved to {target}: {error.fact}{how}"


def _command(folder: Path) -> str:
    """The command line in a damaged step.toml; empty if it can't be read."""
    try:
        text = (folder / "step.toml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r'^command = "(initpools [^"\\]*)"$', text, re.MULTILINE)
    return match[1] if match else ""


# ---- run.toml


def _stored_facts(run: Run) -> dict[str, Any] | None:
    """The content of run.toml; None if it is missing or damaged."""
    try:
        facts = run.facts()
        parse_identity(facts, run)
    except DamagedFile:
        return None
    return facts


def _facts_of_steps(steps: Sequence[FinishedStep]) -> dict[str, Any] | None:
    """The copy of run.toml in the newest step that has one."""
    copies = [step.facts["identity"] for step in steps if isinstance(step.facts.get("identity"), dict)]
    return dict(copies[-1]) if copies else None


def _facts_of_commands(
    run: Run, steps: Sequence[FinishedStep], flags: Mapping[str, Any], sets: Sequence[str], config: Path | None
) -> dict[str, Any]:
    """The data set by the command lines of the steps, for runs whose steps have no copy of run.toml."""
    values: dict[str, Any] = {}
    settings: list[str] = []
    for step in reversed(steps):
        words = _options(str(step.facts["command"]))
        settings = [text for text in words.get("--set", []) if text.startswith("dataset.")] + settings
        if "--dataset" in words:
            values = {"dataset.name": words["--dataset"][-1]} | (
                {"run.seed": int(words["--seed"][-1])} if words.get("--seed", ["x"])[-1].isdigit() else {}
            )
    values |= {key: value for key, value in flags.items() if value is not None}
    if "dataset.name" not in values:
        raise DamagedFile(
            f"{run.path / 'run.toml'} is damaged, and no step says which data set the run is about.",
            f"Name it: `{run.repair} --dataset NAME|FILE|FOLDER`, with --set dataset.KEY=VALUE and --seed if you "
            "gave them when the run began.",
            run.path / "run.toml",
        )
    table, _ = load_settings("dataset", file=config, sets=[*dict.fromkeys(settings), *sets], flags=values)
    source = _source(table.dataset.name, run)
    return Identity(absolute(table.dataset), table.run.seed, source).facts | {"version": version()}


def _facts_with_source(run: Run, facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same facts with the new path of a data set of files.

    Raises
    ------
    UserError
        A folder that lacks images of the run.
    """
    from initpools_cli.datasets.stored.find import find_shards

    source = _source(name, run)
    if source is None or source == facts["dataset"].get("source", source):
        return dict(facts)
    content = _content(run.path / ITEMS)
    if Path(source).is_dir() and not find_shards(Path(source)) and content is not None:
        paths = parse_items(run, content)["path"]
        missing = [path for path in paths if not (Path(source) / path).exists()]
        if missing:
            raise UserError(
                f"{source} lacks {len(missing)} of the {len(paths)} images of the run, the first {missing[0]}.",
                "Name the folder that has them: --dataset PATH.",
                source,
            )
    return {**facts, "dataset": {**facts["dataset"], "name": name, "source": source}}


def _refuse_other(run: Run, identity: Identity, files: Mapping[str, bytes], report: Reporter) -> None:
    """Refuse a data set whose images or labels are not those of the run."""
    from initpools_cli.datasets.cache import data_home
    from initpools_cli.datasets.open import open_dataset

    items, mask = parse_items(run, files[ITEMS]), parse_mask(run, files[KEPT])
    open_dataset(identity.spec, seed=identity.seed, cache=data_home(), report=report, stored_items=items, mask=mask)


def _options(command: str) -> dict[str, list[str]]:
    """The values of the options of a command line, by name."""
    values: dict[str, list[str]] = {}
    words = shlex.split(command)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option in ("--dataset", "--set", "--seed"):
            values.setdefault(option, []).append(value if equals else following)
    return values


def _source(name: str, run: Run) -> str | None:
    """The absolute path of a data set's name, relative to the folder that has the run in ``runs/<name>``."""
    from initpools_cli.datasets.open import path_of

    there = run.path.resolve().parent.parent / name
    path = path_of(str(there) if there.exists() and not Path(name).exists() else name)
    return None if path is None else str(path.resolve())


# ---- items.csv and kept.npy


def _sums(file: str, facts: Mapping[str, Any], steps: Sequence[FinishedStep]) -> set[str]:
    """The checksums that a file may have, by run.toml, its copies, and the steps that read it."""
    copies = [facts, *(step.facts.get("identity", {}) for step in steps)]
    tables = [each.get(table, {}) for each in copies for table in ("writes", "replacing")]
    return {table[file] for table in [*tables, *(step.facts["reads"] for step in steps)] if file in table}


def _files(run: Run, identity: Identity, sums: Mapping[str, set[str]], report: Reporter) -> dict[str, bytes]:
    """The content of both files: as it is if their checksums are valid, else rebuilt from the data set.

    Raises
    ------
    UserError
        The data set is another, or the content can't be made again.
    """
    contents = {file: _content(run.path / file) for file in (ITEMS, KEPT)}
    if all(_sum(contents[file]) in sums[file] for file in contents):
        return {file: content for file, content in contents.items() if content is not None}
    report.say(f"reading {identity.table.name} again")
    fresh = _open(run, identity, report, contents[ITEMS])
    rebuilt = files_of(fresh)
    valid_sums = dict(sums)
    if not valid_sums[ITEMS] and contents[ITEMS] is not None:
        # No checksum is known: the items themselves tell whether the data set is the run's.
        valid_sums[ITEMS] = {_sum(contents[ITEMS])}
    for file, content in rebuilt.items():
        if valid_sums[file] and _sum(content) not in valid_sums[file]:
            raise DamagedFile(
                f"{run.path / file} can't be made again: {identity.table.name} is not what it was when the run began.",
                "Put the file back from a copy, or the images back as they were.",
                run.path / file,
            )
    return rebuilt


def _open(run: Run, identity: Identity, report: Reporter, items: bytes | None) -> Dataset:
    """Open the data set as if for the first time, or with the images that the stored items append."""
    from initpools_cli.datasets.cache import data_home
    from initpools_cli.datasets.open import open_dataset

    def load(**state: Any) -> Dataset:
        return open_dataset(identity.spec, seed=identity.seed, cache=data_home(), report=report, **state)

    fresh = load()
    if items is None or fresh.root is None or items == files_of(fresh)[ITEMS]:
        return fresh
    try:
        return load(stored_items=parse_items(run, items), mask=parse_mask(run, _content(run.path / KEPT)))
    except DamagedFile:
        return fresh


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _sum(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


# ---- writing


def _write(
    run: Run, facts: Mapping[str, Any], files: Mapping[str, bytes], old_facts: Mapping[str, Any] | None
) -> list[str]:
    """Write the files that differ, and move the old ones aside."""
    wrong = [file for file, content in files.items() if _content(run.path / file) != content]
    if facts == old_facts and not wrong and "writes" in facts:
        return []
    lines = [f"{file}\tmade again{_keep(run.path / file)}" for file in wrong]
    if old_facts is None:
        lines.append(f"run.toml\tmade again{_keep(run.path / 'run.toml')}")
    elif facts != old_facts:
        lines.append(f"run.toml\tfinds the data set at {facts['dataset']['source']}")
    elif not wrong:
        lines.append(f"run.toml\tknows the checksums of {ITEMS} and {KEPT} now")
    run.create({key: value for key, value in facts.items() if key not in OF_FILES}, files)
    return lines


def _keep(path: Path) -> str:
    """Move a damaged file aside, and return words that say where it is."""
    if not path.exists():
        return ""
    target = _free(path.with_name(f"{path.name}.damaged"))
    path.rename(target)
    return f"; the damaged one is {target}"


def _free(path: Path) -> Path:
    """The path, or the same with a number if the path exists."""
    number, free = 2, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free
