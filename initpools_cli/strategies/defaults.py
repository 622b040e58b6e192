"""The strategies that are used where none is named; "The default strategy" in the documentation has measurements."""

#: Chooses the images to label first.
FIRST_POOL = "maxherding"
#: Chooses the images to label next.
QUERY = "tcm"
#: The same with several labels per image; not measured as `QUERY` is.
MULTILABEL_QUERY = "badge"
#: Why `FIRST_POOL` and `QUERY` are the defaults.
REASON = "best on average in our comparisons"
