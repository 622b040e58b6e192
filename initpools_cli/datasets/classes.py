"""Classes of labels: which spellings are the same class, and which mean that there is no label.

Tables, exports, folders, arrays, the labeling page and the labeling loop share these rules:

- Equal numbers are one class: ``3``, ``3.0``, `` 3 ``, ``+3``. Numbers with leading zeros or exponents (``03``,
  ``3e0``) are equal to others only if all classes are numbers.
- `NO_LABEL` in any case, and -1, mean that there is no label, unless the user listed a class of that name.
- Names that differ only in case, spaces or Unicode form are an error, since they may be one class or two.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from initpools_cli.core.errors import UserError

#: Folded spellings of a missing label, as written by people, pandas, R and spreadsheets.
NO_LABEL = frozenset({"", "nan", "-nan", "none", "null", "n/a", "na", "<na>", "#n/a", "?"})
#: The maximal length of a class name, characters.
LONGEST = 100
#: The maximal number of locations or names in a message.
PLACES = 10
#: A number: sign, digits (of any script), fraction and exponent.
NUMBER = re.compile(r"([+\-−])?(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d{1,6}))?")

#: A number in canonical form: sign and digits without leading and trailing zeros, and exponent.
Value = tuple[str, int]
MINUS_ONE: Value = ("-1", 0)


@dataclass(frozen=True)
class KnownClasses:
    """Classes known before labels are read.

    Attributes
    ----------
    names : sequence of str
        Names in the order of class numbers.
    fixed : bool
        Whether there can be no others. If no class is a number, an integer then means the class with that number.
    origin : str
        Source of the names, for messages.
    accepted : collection of str
        Spellings with surrounding spaces that older versions accepted as names of classes in earlier rounds.
    multilabel : bool or None
        Whether images can have several labels; None: as the file says.
    """

    names: Sequence[str] = ()
    fixed: bool = True
    origin: str = "a class of the data set"
    accepted: frozenset[str] = frozenset()
    multilabel: bool | None = False


@dataclass(frozen=True)
class Meanings:
    """Classes of spellings.

    Attributes
    ----------
    of : dict of str to str or None
        The class of each spelling; "" for a missing label; None if it is not among the fixed classes.
    notes : list of str
        Notes for the user.
    """

    of: dict[str, str | None]
    notes: list[str] = field(default_factory=list)


def plain(label: str) -> str:
    """Normalize spaces and the Unicode form (NFC) of a label."""
    return " ".join(unicodedata.normalize("NFC", label).split())


def folded(label: str) -> str:
    """Fold a label: equal for labels that differ only in case, spaces, invisible characters or Unicode form."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    return " ".join("".join(each for each in text if unicodedata.category(each) != "Cf").split())


def value_of(label: str) -> Value | None:
    """Parse a label as a number, exact for any number of digits; None if it is not a number.

    Parameters
    ----------
    label : str
        From `plain`.
    """
    match = NUMBER.fullmatch(label)
    if match is None or len(label) > LONGEST:
        return None
    sign, whole, fraction, decimals, exponent = match.groups()
    digits = "".join(str(unicodedata.decimal(each)) for each in (whole or "") + (fraction or decimals or ""))
    significant = digits.strip("0")
    if not significant:
        return "0", 0
    shift = len(digits) - len(digits.rstrip("0")) - len(fraction or decimals or "")
    return ("" if sign in (None, "+") else "-") + significant, shift + int(exponent or 0)


def says_nothing(label: str) -> bool:
    """Whether a label means that there is no label, unless the user listed a class of that name."""
    return folded(label) in NO_LABEL or value_of(plain(label)) == MINUS_ONE


def unfit(label: str) -> str:
    """Return why a text can't be a label, as the end of a sentence; empty if it can."""
    if len(label) > LONGEST:
        return f"has a label of {len(label)} characters, but at most {LONGEST} are allowed"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in label):
        return "has a label with control characters"
    return ""


def alike(name: str, names: Sequence[str]) -> str | None:
    """Return the only class that matches a typed name, else None.

    A class matches if it is an equal number, or differs only in case, spaces or Unicode form.
    """
    text = plain(name)
    if text in names:
        return text
    value = value_of(text)
    if value is None:
        same = [each for each in names if folded(each) == folded(text)]
    else:
        numbers = {each: value_of(plain(each)) for each in names}
        loose = None not in numbers.values()
        same = [
            each
            for each, number in numbers.items()
            if number == value and (loose or _trimmed(plain(each)) == _trimmed(text))
        ]
    return same[0] if len(same) == 1 else None


def class_list(names: Iterable[str], what: str) -> tuple[str, ...]:
    """Validate class names listed by the user, and return them normalized, in order.

    Parameters
    ----------
    what : str
        The option or setting, for messages.

    Raises
    ------
    UserError
        An invalid name, or two names for one class.
    """
    classes: dict[str | Value, str] = {}
    for name in dict.fromkeys(map(plain, names)):
        if not name or unfit(name):
            raise UserError(
                f"{name[:20]!r} ({what}) is not a valid class name.",
                f"Use 1 to {LONGEST} visible characters.",
                repr(name[:20]),
            )
        value = value_of(name)
        key = folded(name) if value is None else value
        if key in classes:
            raise UserError(
                f"{what} lists one class twice: {classes[key]!r} and {name!r}.", "List each class once.", repr(name)
            )
        classes[key] = name
    return tuple(classes.values())


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names, by value if all are numbers, so that "10" follows "9"."""
    unique = set(names)
    values = {name: value_of(name) for name in unique}
    if None in values.values():
        return tuple(sorted(unique))
    return tuple(sorted(unique, key=lambda name: (_decimal(values[name]), name)))


def meanings(
    counts: Mapping[str, int],
    known_classes: KnownClasses = KnownClasses(),
    *,
    prefer: Iterable[str] = (),
    what: str,
    remedy: str,
) -> Meanings:
    """Return the class of each spelling of a label.

    Parameters
    ----------
    counts : mapping of str to int
        Number of occurrences of each spelling, exactly as written.
    known_classes : KnownClasses
    prefer : iterable of str
        Names to prefer if a new class has several spellings.
    what : str
        Where the spellings come from, as the subject of a sentence.
    remedy : str
        How to resolve conflicting names.

    Raises
    ------
    UserError
        Names that differ only in case, spaces or Unicode form, or only the labels -1 and 1.
    """
    fixed = known_classes.fixed and bool(known_classes.names)
    exact = {plain(name): name for name in reversed(known_classes.names)}
    values = {name: value_of(plain(name)) for name in known_classes.names}
    folds = {folded(name) for name in known_classes.names}
    of: dict[str, str | None] = {}
    numbers: dict[str, str] = {}
    words: list[str] = []
    for spelling in counts:
        text = plain(spelling)
        value = value_of(text)
        if text in exact and (value is not None or spelling in (text, exact[text])):
            of[spelling] = exact[text]
        elif (folded(text) in NO_LABEL and folded(text) not in folds) or (
            value == MINUS_ONE and MINUS_ONE not in values.values()
        ):
            of[spelling] = ""
        elif value is not None:
            numbers[spelling] = text
        else:
            words.append(spelling)
    if not known_classes.names:
        _refuse_minus_one(of, [value_of(text) for text in numbers.values()], bool(words), what)
    loose = not (words if not fixed else ()) and None not in values.values()
    of |= _numbers(numbers, known_classes, fixed, loose, frozenset(prefer))
    of |= _words(words, known_classes, fixed)
    _refuse_alike(counts, of, known_classes, what, remedy)
    return Meanings(of, [] if loose else _distinct_numbers_notes(of, what))


def no_label_note(what: str, places: Sequence[str], total: int, spellings: Iterable[str]) -> str:
    """Return the note that some of `total` labels are missing, with their spellings and first locations.

    Parameters
    ----------
    places : sequence of str
        Locations such as "line 2", or paths.
    """
    texts = ", ".join(sorted({plain(each) or "empty" for each in spellings}))
    kinds = {place.rpartition(" ")[0] for place in places}
    if len(kinds) == 1 and (kind := kinds.pop()):
        numbers = [place.rpartition(" ")[2] for place in places[:PLACES]]
        first = f"{kind}{'s' if len(places) > 1 else ''} {', '.join(numbers)}"
    else:
        first = ", ".join(places[:PLACES])
    more = f" and {len(places) - PLACES} more" if len(places) > PLACES else ""
    have = "has" if len(places) == 1 else "have"
    return f"{what}: {len(places)} of {total} {have} no label ({texts}): {first}{more}."


# ---- rules


def _numbers(
    numbers: Mapping[str, str], known_classes: KnownClasses, fixed: bool, loose: bool, prefer: frozenset[str]
) -> dict[str, str | None]:
    """Return the classes of numeric spellings; `loose` if all classes are numbers."""

    def key_of(text: str) -> str | Value | None:
        return value_of(text) if loose else _trimmed(text)

    known_numbers: dict[str | Value | None, str] = {}
    for name in known_classes.names:
        if value_of(plain(name)) is not None:
            known_numbers.setdefault(key_of(plain(name)), name)
    of: dict[str, str | None] = {}
    groups: dict[str | Value | None, list[str]] = defaultdict(list)
    for spelling, text in numbers.items():
        key = key_of(text)
        if key in known_numbers:
            of[spelling] = known_numbers[key]
        elif fixed:
            number = value_of(text)
            of[spelling] = None if known_numbers or number is None else _with_number(number, known_classes.names)
        else:
            groups[key].append(spelling)
    for spellings in groups.values():
        names = sorted({_trimmed(numbers[each]) for each in spellings})
        preferences = [each for each in names if each in prefer]
        candidates = preferences if len(preferences) == 1 else names
        name = candidates[0] if len(candidates) == 1 else _formatted(value_of(names[0]))
        of |= dict.fromkeys(spellings, name)
    return of


def _with_number(value: Value, names: Sequence[str]) -> str | None:
    """Return the class with that class number, for classes whose names are not numbers."""
    digits, exponent = value
    if digits.startswith("-") or exponent < 0 or len(digits) + exponent > len(str(len(names))):
        return None
    number = int(digits) * 10**exponent
    return names[number] if number < len(names) else None


def _words(words: Sequence[str], known_classes: KnownClasses, fixed: bool) -> dict[str, str | None]:
    """Return the classes of spellings that are not numbers."""
    by_fold = {folded(name): name for name in reversed(known_classes.names)}
    of: dict[str, str | None] = {}
    for spelling in words:
        text = plain(spelling)
        # A spelling that only resembles a known class is an error in `_refuse_alike`.
        of[spelling] = by_fold.get(folded(text)) or (None if fixed else text)
    return of


def _refuse_minus_one(of: Mapping[str, str | None], values: Sequence[Value | None], words: bool, what: str) -> None:
    present = any(name == "" and value_of(plain(spelling)) == MINUS_ONE for spelling, name in of.items())
    if present and not words and set(values) == {("1", 0)}:
        raise UserError(
            f"{what} has only the labels -1 and 1: -1 may be a class or mean that there is no label.",
            "Set --classes=-1,1 if -1 is a class, or --classes=1 if it is not.",
            -1,
        )


def _refuse_alike(
    counts: Mapping[str, int], of: Mapping[str, str | None], known_classes: KnownClasses, what: str, remedy: str
) -> None:
    """Raise an error for names that differ only in case, spaces or Unicode form."""
    alike: dict[str, dict[str, str]] = defaultdict(dict)
    for name in known_classes.names:
        alike[folded(name)][name] = known_classes.origin
    clash = set()
    for spelling, class_name in of.items():
        if not class_name or spelling in known_classes.accepted:
            continue
        text = spelling if value_of(plain(spelling)) is None else class_name
        group = alike[folded(text)]
        if text not in group:
            group[text] = f"{counts[spelling]}×"
            if len(group) > 1:
                clash.add(folded(text))
    if clash:
        groups = [_alike_text(alike[key]) for key in sorted(clash)]
        listing = "; ".join(groups[:PLACES]) + (f"; and {len(groups) - PLACES} more" if len(groups) > PLACES else "")
        fact = f"{what} has classes that differ only in case, spaces or Unicode form: {listing}."
        raise UserError(fact, remedy, listing)


def _alike_text(group: Mapping[str, str]) -> str:
    return " and ".join(
        f"{ascii(name) if _looks_alike(name, group) else repr(name)} ({origin})" for name, origin in group.items()
    )


def _looks_alike(name: str, group: Iterable[str]) -> bool:
    """Whether another name looks the same; then both are shown with escapes."""
    return any(
        other != name and unicodedata.normalize("NFKC", other) == unicodedata.normalize("NFKC", name) for other in group
    )


def _distinct_numbers_notes(of: Mapping[str, str | None], what: str) -> list[str]:
    """Return notes on equal numbers that are different classes because not all classes are numbers."""
    equal: dict[Value, set[str]] = defaultdict(set)
    for name in of.values():
        value = value_of(name) if name else None
        if name and value is not None:
            equal[value].add(name)
    return [
        f"{what}: {' and '.join(map(repr, sorted(names)))} are different classes, as not all classes are numbers."
        for names in equal.values()
        if len(names) > 1
    ]


# ---- numbers as text


def _trimmed(text: str) -> str:
    """Return a number as written, in ASCII, without plus sign and trailing zeros of the fraction."""
    match = NUMBER.fullmatch(text)
    assert match is not None, "not a number"
    if match[5] is not None:
        return text
    sign, whole, fraction = match[1], match[2] or "0", (match[3] or match[4] or "").rstrip("0")
    digits = "".join(str(unicodedata.decimal(each)) for each in whole)
    after = "".join(str(unicodedata.decimal(each)) for each in fraction)
    negative = sign in ("-", "−") and bool((digits + after).strip("0"))
    return f"{'-' if negative else ''}{digits}{'.' if after.strip('0') else ''}{after if after.strip('0') else ''}"


def _decimal(value: Value | None) -> Decimal:
    assert value is not None, "not a number"
    return Decimal(f"{value[0]}E{value[1]}")


def _formatted(value: Value | None) -> str:
    """Format a number in its shortest usual form."""
    exact = _decimal(value)
    return f"{exact:f}" if -LONGEST // 4 <= exact.adjusted() <= LONGEST // 4 else f"{exact}"
