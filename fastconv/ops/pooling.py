"""pooling ops."""

__all__ = []
