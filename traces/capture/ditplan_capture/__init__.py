"""Records attention keys and values of diffusion transformers and measures what lossy messages do to images."""

__version__ = "0.2.0"
