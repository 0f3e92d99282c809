"""The public conformance kit: subclass `ProtocolTests`, say how your backend is made, and run pytest.

>>> import pytest
>>> class TestMyBackend(ProtocolTests):
...     @pytest.fixture
...     def protocol(self, tmp_path):
...         from track.persistence import get_protocol
...         return get_protocol(f"file:{tmp_path}/runs.json")
"""

from track.testing.conformance import ProtocolTests
from track.testing.model import Model

__all__ = ["Model", "ProtocolTests"]
