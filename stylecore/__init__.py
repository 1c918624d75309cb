"""stylecore: neural style transfer by optimisation, with reduced style losses and fast lower-detail previews."""

import lazy_loader

from stylecore.version import VERSION

__version__ = VERSION

# A name is imported when it is first used: a program must come before torch is loaded, see `program`.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
