"""Fail where the tests execute too little, by the JSON report of coverage.py: `make coverage`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

LIMITS = {"lines": ("covered_lines", "num_statements", 95), "branches": ("covered_branches", "num_branches", 90)}

totals = json.loads(Path(sys.argv[1]).read_text())["totals"]
low = False
for name, (part, whole, limit) in LIMITS.items():
    share = 100 * totals[part] / totals[whole]
    low |= share < limit
    sys.stdout.write(f"{name}: {totals[part]:,} of {totals[whole]:,}, {share:.1f} % (at least {limit} %)\n")
sys.exit(low)
