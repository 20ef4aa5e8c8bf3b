"""Records attention keys and values of diffusion transformers and measures what lossy messages do to images."""

__version__ = "0.2.0"

from .hook import execute
from .options import Options
from .record import Recorder, record
from .timeline import timeline
from .writer import TraceWriter

__all__ = ["Options", "Recorder", "TraceWriter", "execute", "record", "timeline"]
