"""recurrent ops."""

__all__ = []
