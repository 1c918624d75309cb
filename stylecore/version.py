"""The version, for settings and records; `stylecore.__version__` to others."""

VERSION = "0.1.0"
