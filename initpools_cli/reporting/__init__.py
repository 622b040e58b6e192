"""What a run is shown as: status, the next command, plots, the report, comparisons and exports."""
