"""Plotly figures and HTML pages, drawn from data frames."""
