"""Rows of TOML files, of --set and of other words of the command line."""

from __future__ import annotations

from collections.abc import Iterator

from bad_rows import ALONE, IRREGULAR, SELECT, Row

from initpools_cli.core.config import TABLES

SETTINGS = {
    "nested": (f"[select]\nparams = {'[' * 4000}{']' * 4000}", "nested too deeply"),
    "digits": (f"[run]\nseed = {'1' * 5000}", "digits"),
    "a million digits": (f"[run]\nseed = {'1' * 1_000_000}", "digits"),
    "hexadecimal": (f"[run]\nseed = 0x{'f' * 6000}", "a number of 24000 bits"),
    "keys": (f"[run]\na{'.a' * 5000} = 1", "nested too deeply"),
    "long text": (f"[run]\ndevice = '{'x' * 9000}'", "run.device"),
    "no UTF-8": ("[run]\nseed = '\udcff'", "not valid TOML"),
    "large": ("#" * (2 << 20), "limit of 1 MiB"),
    "infinite": ("[dataset]\ntest = inf", "dataset.test"),
    "no number": ("[dataset]\ntest = nan", "dataset.test"),
    "NUL": ("[run]\nseed = 1\0", "not valid TOML"),
    "a byte-order mark": ("\ufeff[run]\nseed = 1", "not valid TOML"),
    "UTF-16": ("[run]\nseed = 1".encode("utf-16"), "not valid TOML"),
    "latin-1": ("[run]\ndevice = 'é'".encode("latin-1"), "not valid TOML"),
    "cut": ("[run]\nseed = ", "not valid TOML"),
    "twice": ("[run]\nseed = 1\nseed = 2", "not valid TOML"),
    "two tables": ("[run]\nseed = 1\n[run]\nseed = 2", "not valid TOML"),
    "JSON": ('{"run": {"seed": 1}}', "not valid TOML"),
    "no table": ("seed = 1", "'seed' (in x.toml) is not in a table"),
    "a list of tables": ("[[run]]\nseed = 1", "'run' (in x.toml) is not in a table"),
    "an unknown table": ("[runn]\nseed = 1", "Did you mean [run]?"),
    "an unknown key": ("[run]\nsed = 1", "Did you mean 'run.seed'?"),
    "an escape": ('[run]\n"\\u001b[2J" = 1', "There is no setting"),
    "a knob of another strategy": ("[select.params]\ndelta = 0.5", "delta"),
    "a negative seed": ("[run]\nseed = -1", "run.seed"),
    "a seed of 64 bits": (f"[run]\nseed = {2**63}", "run.seed"),
}
SETS = {
    "nested": f"run.seed={'[' * 900}",
    "digits": f"run.seed={'1' * 5000}",
    "hexadecimal": f"run.seed=0x{'f' * 6000}",
    "nothing": "",
    "no value": "run.seed",
    "no key": "=1",
    "an empty value": "run.seed=",
    "an unknown key": "seeed=1",
    "an unknown table": "rum.seed=1",
    "a table": "run=1",
    "nan": "dataset.test=nan",
    "infinity": "dataset.ratio=-inf",
}
#: Values that no setting can have.
WRONG = {"a date": "1979-05-27", "a table": "{a = 1}"}
LONG = "x" * 300


def rows() -> Iterator[Row]:
    for kind, (text, message) in SETTINGS.items():
        content = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
        yield Row(f"TOML: {kind}", f"{ALONE} --config x.toml", {"x.toml": content}, (message,))
    for kind, (make, message) in IRREGULAR.items():
        yield Row(f"TOML: {kind}", f"{ALONE} --config x.toml", {"x.toml": make}, ("x.toml", message))
    for kind, text in SETS.items():
        yield Row(
            f"--set: {kind}", [*ALONE.split(), "--set", text], message=(text.partition("=")[0].partition(".")[0],)
        )
    words = "select-pool random --budget 2 --dataset . --set"
    yield Row("--set: NUL", [*words.split(), 'dataset.labels="a\\u0000b"'])
    for table, fields in TABLES.items():
        for key in fields.model_fields:
            if key == "params":
                continue
            for kind, value in WRONG.items():
                text = f"{table}.{key}={value}"
                yield Row(f"--set {table}.{key}: {kind}", [*ALONE.split(), "--set", text], message=(f"{table}.{key}",))
            content = f"[{table}]\n{key} = {WRONG['a date']}\n".encode()
            yield Row(
                f"TOML {table}.{key}: a date", f"{ALONE} --config x.toml", {"x.toml": content}, (f"{table}.{key}",)
            )
    for name, words in {
        "output": f"{ALONE} -o {LONG}.npy",
        "embeddings": f"{SELECT} --embeddings {LONG}.npy",
        "run": f"select-pool random --budget 2 --dataset digits --run {LONG}",
        "data set": f"select-pool random --budget 2 --dataset {LONG}",
        "copies": f"select-pool random --budget 2 --dataset digits --export copies={LONG}",
        "export": f"select-pool random --budget 2 --dataset digits --export label-studio={LONG}.json",
        "status": f"status --run {LONG}",
    }.items():
        yield Row(f"a name that is too long: {name}", words, message=("name too long",))
    for words, message in {
        "select-pool kcenter --embeddings e.npy": "Missing option --budget",
        f"{ALONE} --budget -3": "greater than or equal to 1",
        f"{ALONE} --budget 41": "--budget 41",
        f"{ALONE} --budget 1e400": "1e400",
        f"{ALONE} --budget 0%": "0%",
        f"{ALONE} --budget 101%": "101%",
        f"{ALONE} --budget nan": "nan",
        f"{ALONE} --seed -1": "seed",
        f"{ALONE} --seed x": "'x'",
        f"{ALONE} --threads 100000": "run.threads = 100000",
        f"{ALONE} --device tpu": "tpu",
        f"{ALONE} --from pca": "--from pca needs a run",
        f"{ALONE} --id-column path": "--id-column path has no effect",
        f"{ALONE} -o x.txt": "x.txt",
        f"{ALONE} -o .": "does not end in",
        "select-pool kcentre --budget 2 --embeddings e.npy": "Did you mean 'kcenter'",
        "select-pool usl --embeddings e.npy -n 1 --set momentum=2": "less than or equal to 1",
    }.items():
        yield Row(f"words: {words}", words, message=(message,))
