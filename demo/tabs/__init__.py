"""The tabs of the page, in their order. A new one is a file here and its class in this list."""

from .base import Tab
from .compare import CompareTab
from .edge import EdgeTab
from .how import HowTab
from .stylize import StylizeTab

TABS: tuple[type[Tab], ...] = (StylizeTab, CompareTab, EdgeTab, HowTab)
