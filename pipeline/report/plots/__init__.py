"""Plots as SVG text: lines, stacked areas, bars, a waterfall. Pure; colours are CSS classes that the page defines."""
