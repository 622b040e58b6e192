# What an installed wheel must do, in the folder of its environment: `make package`.
set -eu
python - <<END
from importlib.resources import files
from pathlib import Path
import sys

package = files("initpools_cli")
assert Path(sys.prefix) in Path(str(package)).parents, package
templates = ("cli/labeler/templates/page.html.j2", "figures/assets/page.js")
for name in ("bench/suites/quick.toml", "cli/names.json", "cli/labeler/page.js", "py.typed", *templates):
    assert package.joinpath(name).is_file(), name
END
initpools --version
initpools embed pixels --dataset digits --quiet
initpools select-pool kcenter --budget 3 --quiet -o pool.csv
test "$(wc -l < pool.csv)" = 4
initpools verify --quiet
initpools plot scatter --quiet -o scatter.html
