"""Several labels per image as text: the classes of cells such as ``cat|dog``, with the rules of `datasets.classes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from initpools_cli.core.errors import UserError
from initpools_cli.datasets.classes import KnownClasses, Meanings, folded, in_order, meanings, plain, says_nothing
from initpools_cli.datasets.multilabel import NONE, SEPARATOR, checked_names

#: Separators that are not ours. The first two are in no class name unless the user listed it; the others separate
#: labels if every part is also a label of its own.
OTHERS = ";,/+&: "
CERTAIN = ";,"


def set_meanings(
    counts: Mapping[str, int],
    known_classes: KnownClasses,
    *,
    prefer: Iterable[str] = (),
    what: str,
    remedy: str,
) -> Meanings:
    """Return the classes of each cell: its classes joined by ``|`` in order, ``none``, "", or None if it is not valid.

    Parameters
    ----------
    counts : mapping of str to int
        Number of occurrences of each cell, exactly as written.
    known_classes, prefer, what, remedy
        As in `meanings`; `prefer` are cells.

    Raises
    ------
    UserError
        Another separator than ``|``, a class whose name is "none", or classes that `meanings` refuses.
    """
    checked_names(tuple(known_classes.names), what)
    parts = {cell: parts_of(cell) for cell in counts}
    names: Counter[str] = Counter()
    for cell, count in counts.items():
        names.update(dict.fromkeys(parts[cell], count))
    preferences = [part for cell in prefer for part in parts_of(cell)]
    # Labels that were read before are classes.
    _refuse_other_separators(names, {*map(plain, (*known_classes.names, *preferences))}, what)
    meaning = meanings(names, known_classes, prefer=preferences, what=what, remedy=remedy)
    order = (
        known_classes.names
        if known_classes.fixed and known_classes.names
        else sorted({name for name in meaning.of.values() if name})
    )
    place = {name: at for at, name in enumerate(order)}

    def of(cell: str) -> str | None:
        if folded(cell) == NONE:
            return NONE
        if not parts[cell]:
            return ""
        classes = {meaning.of[part] for part in parts[cell]}
        if None in classes or "" in classes:
            return None
        return SEPARATOR.join(sorted((name for name in classes if name), key=place.__getitem__))

    return Meanings({cell: of(cell) for cell in counts}, meaning.notes)


def none_note(what: str, cells: Sequence[str]) -> list[str]:
    """Return the note on images that have none of the classes, from their labels; empty if there are none."""
    none = sum(cell == NONE for cell in cells)
    return [f"{what}: {none} of {len(cells)} images have none of the classes ({NONE})."] if none else []


def bar_note(what: str, names: Iterable[str], classes: Iterable[str]) -> list[str]:
    """Return the note on classes such as ``cat|dog`` where images have one class each; empty if there are none."""
    joined = sorted({name for name in names if SEPARATOR in name} - {*classes})
    if not joined:
        return []
    return [
        f"{what}: {joined[0]!r} is read as one class. For several labels per image, start a run with --set "
        "dataset.multilabel=true."
    ]


def parts_of(cell: str) -> list[str]:
    """Split a cell into its labels as written; empty for ``none`` and for a missing label."""
    if folded(cell) == NONE or (SEPARATOR not in cell and says_nothing(cell)):
        return []
    return [part.strip() for part in cell.split(SEPARATOR)]


def classes_in(cells: Iterable[str]) -> tuple[str, ...]:
    """Return the classes that occur in cells of `set_meanings`, sorted; by value if all are numbers."""
    return in_order({part for cell in cells for part in parts_of(cell)})


def why_invalid(cell: str, known_classes: KnownClasses) -> str:
    """Return why a cell has no meaning, as the end of a sentence."""
    if any(says_nothing(part) for part in parts_of(cell)):
        return f"has the labels {plain(cell)!r}: an empty or missing label, or none, stands beside others"
    wrong = ", ".join(repr(part) for part in parts_of(cell) if part not in known_classes.names)
    return f"has the labels {plain(cell)!r}, of which {wrong} is not a class: {', '.join(known_classes.names[:10])}"


def _refuse_other_separators(names: Mapping[str, int], classes: Collection[str], what: str) -> None:
    """Refuse ``cat;dog``, which would be a class of its own."""
    single = {folded(each) for each in (*names, *classes)}
    for name in names:
        if plain(name) in classes:
            continue
        for separator in OTHERS:
            pieces = [folded(piece) for piece in name.split(separator)]
            if len(pieces) > 1 and (separator in CERTAIN or all(piece in single for piece in pieces)):
                raise UserError(
                    f"{what} seems to separate labels with {separator!r}, as in {plain(name)!r}.",
                    f"Separate the labels of an image with {SEPARATOR!r}, as in cat{SEPARATOR}dog; if it is one class, "
                    "list all with --classes.",
                    repr(plain(name)),
                )
