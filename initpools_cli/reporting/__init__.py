"""Views of a run: status, the next command, plots, the report, comparisons and exports."""
