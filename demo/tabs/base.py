"""What every tab is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import gradio as gr

from ..components.job_inputs import JobInputs
from ..components.url_state import Control, UrlState
from ..server.services import Services


class Tab(ABC):
    """A tab's components, and what they do; made inside a `gr.Tabs`, and listed in `tabs.TABS`."""

    name: ClassVar[str]  # in the address
    label: ClassVar[str]

    def __init__(self, inputs: JobInputs, services: Services) -> None:
        self.inputs, self.services = inputs, services
        with gr.Tab(self.label, id=self.name) as self.container:
            self.lay_out()
            self.wire()

    @property
    def controls(self) -> dict[str, Control]:
        """What of it is in the address."""
        return {}

    @abstractmethod
    def lay_out(self) -> None:
        """Make the components."""

    def wire(self) -> None:  # noqa: B027 - a tab may have nothing to do
        """Say what happens at which event."""

    def connect(self, url_state: UrlState) -> None:  # noqa: B027 - nor anything in the address
        """Say what happens when the address was read, and what changes it."""
