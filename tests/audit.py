"""Says what ``pip-audit --format json`` found on standard input: `make audit`."""

from __future__ import annotations

import json
import sys


def summary(text: str) -> list[str]:
    """Return one line for each known vulnerability, or why there are none."""
    packages = json.loads(text)["dependencies"] if text.strip() else []
    audited = [each for each in packages if "skip_reason" not in each]
    if not audited:
        return ["pip-audit: skipped, the database of vulnerabilities can't be reached"]
    vulnerabilities = [
        f"{each['name']} {each['version']}: {one['id']}, corrected in {', '.join(one['fix_versions']) or 'no version'}"
        for each in audited
        for one in each["vulns"]
    ]
    return vulnerabilities or [f"pip-audit: no known vulnerability in {len(audited)} of {len(packages)} packages"]


if __name__ == "__main__":
    sys.stdout.write("\n".join(summary(sys.stdin.read())) + "\n")
