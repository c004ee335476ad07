"""normalization ops."""

__all__ = []
