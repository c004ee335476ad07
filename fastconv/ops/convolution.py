"""Convolution ops."""

__all__ = []
