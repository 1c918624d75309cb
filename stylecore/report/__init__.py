"""How results are shown: charts in one style, contact sheets, tables, and the page of a comparison."""

from stylecore.report.charts import chart, curves_png, new_figure, plain_ticks, sweep_png
from stylecore.report.page import (
    REPORT_FILES,
    results_table,
    seconds_text,
    speed_up,
    sweep_results_table,
    write_report,
    write_sweep_figure,
)
from stylecore.report.sheets import Picture, contact_sheet, picture_of
from stylecore.report.tables import Column, Table, document, wrapped

__all__ = [
    "REPORT_FILES",
    "Column",
    "Picture",
    "Table",
    "chart",
    "contact_sheet",
    "curves_png",
    "document",
    "new_figure",
    "picture_of",
    "plain_ticks",
    "results_table",
    "seconds_text",
    "speed_up",
    "sweep_png",
    "sweep_results_table",
    "wrapped",
    "write_report",
    "write_sweep_figure",
]
