"""The strategies that are used where none is named; docs/default-strategy.md has the measurements."""

#: Chooses the images to label first.
FIRST_POOL = "maxherding"
#: Chooses the images to label next.
QUERY = "tcm"
#: The same with several labels per image; not measured as `QUERY` is.
MULTILABEL_QUERY = "badge"
#: Where the choice is explained.
PAGE = "docs/default-strategy.md"
