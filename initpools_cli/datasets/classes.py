"""What a label means, wherever it is written: which spellings are one class, and which say that there is no label.

Tables, exports, folders, arrays, the labeling page and the rounds of the labeling loop all go by this:

- Numbers that are equal are one class: ``3``, ``3.0``, `` 3 ``, ``+3``. Leading zeros and exponents count as the same
  number (``03``, ``3e0``) only where every class is a number.
- `NO_LABEL` in any case, and -1, mean that there is no label; but a class that the user has named is a class.
- Names that differ only in case, in spaces or in how Unicode writes them are refused: nobody can say whether they are
  one class or two.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from initpools_cli.core.errors import UserError

#: What is written where there is no label, folded: by people, pandas, R and spreadsheets.
NO_LABEL = frozenset({"", "nan", "-nan", "none", "null", "n/a", "na", "<na>", "#n/a", "?"})
#: The longest name of a class, characters.
LONGEST = 100
#: How many places of a file a message names.
PLACES = 10
#: Sign, digits, fraction and exponent; the digits of any script.
NUMBER = re.compile(r"([+\-−])?(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d{1,6}))?")

#: A number in its one form: its sign and digits without zeros at the ends, and its exponent.
Value = tuple[str, int]
MINUS_ONE: Value = ("-1", 0)


@dataclass(frozen=True)
class KnownClasses:
    """The classes that are known before labels are read.

    Attributes
    ----------
    names : sequence of str
        In the order of their numbers.
    fixed : bool
        Whether no other may join. A whole number is then also the class at that place, where no class is a number.
    origin : str
        Where they are from, for messages.
    accepted : collection of str
        Spellings with spaces around them that stood for a class in earlier rounds, when it had no other spelling.
    """

    names: Sequence[str] = ()
    fixed: bool = True
    origin: str = "a class of the data set"
    accepted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Meanings:
    """What spellings mean.

    Attributes
    ----------
    of : dict of str to str or None
        The class of each spelling; "" where it says that there is no label; None where it is none of the fixed classes.
    notes : list of str
        What the user should know.
    """

    of: dict[str, str | None]
    notes: list[str] = field(default_factory=list)


def plain(label: str) -> str:
    """A label without stray spaces, its accents written in one way, since macOS has another."""
    return " ".join(unicodedata.normalize("NFC", label).split())


def folded(label: str) -> str:
    """The same for labels that differ only in case, in spaces, in invisible marks or in how Unicode writes them."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    return " ".join("".join(each for each in text if unicodedata.category(each) != "Cf").split())


def value_of(label: str) -> Value | None:
    """The number that a label is, exact for any number of digits; None where it is none.

    Parameters
    ----------
    label : str
        As `plain` gives it.
    """
    found = NUMBER.fullmatch(label)
    if found is None or len(label) > LONGEST:
        return None
    sign, whole, fraction, bare, exponent = found.groups()
    digits = "".join(str(unicodedata.decimal(each)) for each in (whole or "") + (fraction or bare or ""))
    stripped = digits.strip("0")
    if not stripped:
        return "0", 0
    shift = len(digits) - len(digits.rstrip("0")) - len(fraction or bare or "")
    return ("" if sign in (None, "+") else "-") + stripped, shift + int(exponent or 0)


def says_nothing(label: str) -> bool:
    """Whether a label means that there is none, where no class of that name was named by the user."""
    return folded(label) in NO_LABEL or value_of(plain(label)) == MINUS_ONE


def unfit(label: str) -> str:
    """Why a text can be no label at all, as the end of a sentence; empty where it can."""
    if len(label) > LONGEST:
        return f"has a label of {len(label)} characters, and {LONGEST} are the most"
    hidden = any(unicodedata.category(character) in ("Cc", "Cs") for character in label)
    return "has a label with characters that cannot be seen" if hidden else ""


def alike(name: str, names: Sequence[str]) -> str | None:
    """The one class that a person means who types a name: an equal number, or a name that differs only in case,
    spaces or Unicode form; None where there is none, or several.
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
            if number == value and (loose or _tidied(plain(each)) == _tidied(text))
        ]
    return same[0] if len(same) == 1 else None


def class_list(names: Iterable[str], what: str) -> tuple[str, ...]:
    """Classes as the user names them, in their order.

    Parameters
    ----------
    what : str
        What they were given as, for messages.

    Raises
    ------
    UserError
        A name that none can have, or two that are one class.
    """
    found: dict[str | Value, str] = {}
    for name in dict.fromkeys(map(plain, names)):
        if not name or unfit(name):
            raise UserError(f"{name[:20]!r} ({what}) is no name for a class.", f"Give it 1 to {LONGEST} characters.")
        value = value_of(name)
        key = folded(name) if value is None else value
        if key in found:
            raise UserError(f"{what} names one class twice: {found[key]!r} and {name!r}.", "Name each class once.")
        found[key] = name
    return tuple(found.values())


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names sorted: as numbers where all are, so that "10" follows "9"."""
    unique = set(names)
    values = {name: value_of(name) for name in unique}
    if None in values.values():
        return tuple(sorted(unique))
    return tuple(sorted(unique, key=lambda name: (_decimal(values[name]), name)))


def meanings(
    counts: Mapping[str, int],
    known: KnownClasses = KnownClasses(),
    *,
    prefer: Iterable[str] = (),
    what: str,
    remedy: str,
) -> Meanings:
    """What each spelling of a label means.

    Parameters
    ----------
    counts : mapping of str to int
        How often each spelling occurs, exactly as it was written.
    known : KnownClasses
    prefer : iterable of str
        Names to keep where a class that was not known is written in several ways.
    what : str
        Where the spellings are from, as the subject of a sentence.
    remedy : str
        How names that clash become one.

    Raises
    ------
    UserError
        Names that differ only in case, spaces or Unicode form, or no other labels than -1 and 1.
    """
    fixed = known.fixed and bool(known.names)
    exact = {plain(name): name for name in reversed(known.names)}
    values = {name: value_of(plain(name)) for name in known.names}
    folds = {folded(name) for name in known.names}
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
    if not known.names:
        _refuse_minus_one(of, [value_of(text) for text in numbers.values()], bool(words), what)
    loose = not (words if not fixed else ()) and None not in values.values()
    of |= _numbers(numbers, known, fixed, loose, frozenset(prefer))
    of |= _words(words, known, fixed)
    _refuse_alike(counts, of, known, what, remedy)
    return Meanings(of, [] if loose else _apart(of, what))


def no_label_note(what: str, places: Sequence[str], total: int, spellings: Iterable[str]) -> str:
    """That some of `total` labels are none, how they are written, and where the first of them are.

    Parameters
    ----------
    places : sequence of str
        "line 2", "line 3"; or bare paths.
    """
    written = ", ".join(sorted({plain(each) or "empty" for each in spellings}))
    kinds = {place.rpartition(" ")[0] for place in places}
    if len(kinds) == 1 and (kind := kinds.pop()):
        shown = [place.rpartition(" ")[2] for place in places[:PLACES]]
        first = f"{kind}{'s' if len(places) > 1 else ''} {', '.join(shown)}"
    else:
        first = ", ".join(places[:PLACES])
    more = f" and {len(places) - PLACES} more" if len(places) > PLACES else ""
    have = "has" if len(places) == 1 else "have"
    return f"{what}: {len(places)} of {total} {have} no label ({written}): {first}{more}."


# ---- the rules


def _numbers(
    numbers: Mapping[str, str], known: KnownClasses, fixed: bool, loose: bool, prefer: frozenset[str]
) -> dict[str, str | None]:
    """The classes of spellings that are numbers; `loose` where every class is one."""

    def key_of(text: str) -> str | Value | None:
        return value_of(text) if loose else _tidied(text)

    there: dict[str | Value | None, str] = {}
    for name in known.names:
        if value_of(plain(name)) is not None:
            there.setdefault(key_of(plain(name)), name)
    of: dict[str, str | None] = {}
    groups: dict[str | Value | None, list[str]] = defaultdict(list)
    for spelling, text in numbers.items():
        key = key_of(text)
        if key in there:
            of[spelling] = there[key]
        elif fixed:
            place = value_of(text)
            of[spelling] = None if there or place is None else _at_place(place, known.names)
        else:
            groups[key].append(spelling)
    for spellings in groups.values():
        tidied = sorted({_tidied(numbers[each]) for each in spellings})
        kept = [each for each in tidied if each in prefer]
        one = kept if len(kept) == 1 else tidied
        of |= dict.fromkeys(spellings, one[0] if len(one) == 1 else _written(value_of(tidied[0])))
    return of


def _at_place(value: Value, names: Sequence[str]) -> str | None:
    """The class of that number, where classes are not called by numbers themselves."""
    digits, exponent = value
    if digits.startswith("-") or exponent < 0 or len(digits) + exponent > len(str(len(names))):
        return None
    place = int(digits) * 10**exponent
    return names[place] if place < len(names) else None


def _words(words: Sequence[str], known: KnownClasses, fixed: bool) -> dict[str, str | None]:
    """The classes of spellings that are no numbers."""
    by_fold = {folded(name): name for name in reversed(known.names)}
    of: dict[str, str | None] = {}
    for spelling in words:
        text = plain(spelling)
        # One that only looks like a known class is refused later on.
        of[spelling] = by_fold.get(folded(text)) or (None if fixed else text)
    return of


def _refuse_minus_one(of: Mapping[str, str | None], values: Sequence[Value | None], words: bool, what: str) -> None:
    there = any(meant == "" and value_of(plain(spelling)) == MINUS_ONE for spelling, meant in of.items())
    if there and not words and set(values) == {("1", 0)}:
        raise UserError(
            f"{what} has no labels but -1 and 1: -1 may be a class, or mean that there is no label.",
            "Name the classes: --classes=-1,1 where -1 is one, --classes=1 where it is not.",
        )


def _refuse_alike(
    counts: Mapping[str, int], of: Mapping[str, str | None], known: KnownClasses, what: str, remedy: str
) -> None:
    """Refuse names that differ only in case, spaces or Unicode form."""
    alike: dict[str, dict[str, str]] = defaultdict(dict)
    for name in known.names:
        alike[folded(name)][name] = known.origin
    clash = set()
    for spelling, meant in of.items():
        if not meant or spelling in known.accepted:
            continue
        number = value_of(plain(spelling)) is not None
        shown = meant if number else spelling
        group = alike[folded(shown)]
        if shown not in group:
            group[shown] = f"{counts[spelling]}×"
            if len(group) > 1:
                clash.add(folded(shown))
    if clash:
        groups = [_listed(alike[key]) for key in sorted(clash)]
        shown = "; ".join(groups[:PLACES]) + (f"; and {len(groups) - PLACES} more" if len(groups) > PLACES else "")
        raise UserError(f"{what} has classes that differ only in case, spaces or Unicode form: {shown}.", remedy)


def _listed(group: Mapping[str, str]) -> str:
    return " and ".join(
        f"{ascii(name) if _same_looks(name, group) else repr(name)} ({says})" for name, says in group.items()
    )


def _same_looks(name: str, group: Iterable[str]) -> bool:
    """Whether another name can't be told from it when it is read: escapes then say how they differ."""
    return any(
        other != name and unicodedata.normalize("NFKC", other) == unicodedata.normalize("NFKC", name) for other in group
    )


def _apart(of: Mapping[str, str | None], what: str) -> list[str]:
    """Equal numbers that are two classes because other classes are no numbers."""
    equal: dict[Value, set[str]] = defaultdict(set)
    for meant in of.values():
        value = value_of(meant) if meant else None
        if meant and value is not None:
            equal[value].add(meant)
    return [
        f"{what}: {' and '.join(map(repr, sorted(names)))} are different classes, as not all classes are numbers."
        for names in equal.values()
        if len(names) > 1
    ]


# ---- numbers as texts


def _tidied(text: str) -> str:
    """A number as it is written, in ASCII, without a plus sign or zeros at the end of its fraction."""
    found = NUMBER.fullmatch(text)
    assert found is not None, "only numbers are tidied"
    if found[5] is not None:
        return text
    sign, whole, fraction = found[1], found[2] or "0", (found[3] or found[4] or "").rstrip("0")
    digits = "".join(str(unicodedata.decimal(each)) for each in whole)
    after = "".join(str(unicodedata.decimal(each)) for each in fraction)
    negative = sign in ("-", "−") and bool((digits + after).strip("0"))
    return f"{'-' if negative else ''}{digits}{'.' if after.strip('0') else ''}{after if after.strip('0') else ''}"


def _decimal(value: Value | None) -> Decimal:
    assert value is not None, "only numbers are ordered as numbers"
    return Decimal(f"{value[0]}E{value[1]}")


def _written(value: Value | None) -> str:
    """The shortest usual way to write a number."""
    exact = _decimal(value)
    return f"{exact:f}" if -LONGEST // 4 <= exact.adjusted() <= LONGEST // 4 else f"{exact}"
