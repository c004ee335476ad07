"""activations ops."""

__all__ = []
