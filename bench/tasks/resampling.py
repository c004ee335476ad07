"""Images made larger, and numbers moved to other places."""

import numpy as np

from bench.tasks.common import Op, integers, reference, shapes


class Interpolate(Op):
    """Of integers, a pixel off is off by more than the rounding of weights."""

    size = shapes.Resize
    passes = tuple(mode + end for end in ("", "_backward") for mode in ("nearest", "bilinear", "bicubic"))

    @staticmethod
    def operands(size, pass_, rng):
        if pass_.endswith("backward"):
            return {"dy": integers(rng, size.y_shape)}
        return {"x": integers(rng, size.x_shape)}

    @staticmethod
    def result(size, pass_, operands):
        named = {"scale_factor": size.factor, "mode": pass_.removesuffix("_backward")}
        if pass_.endswith("backward"):
            return reference.interpolate_backward(operands["dy"], size.x_shape, **named)
        return reference.interpolate(operands["x"], **named)


class Rearrange(Op):
    """Copies, and sums of integers: every method is exact."""

    size = shapes.Rearrangement
    passes = ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "unfold", "fold", "pad", "pad_backward")

    @staticmethod
    def operands(size, pass_, rng):
        n, c, h, w = size.x_shape
        factor, padding = size.factor, size.padding
        if pass_ == "pixel_shuffle":
            return {"x": integers(rng, (n, -(-c // factor**2) * factor**2, h, w))}
        if pass_ == "channel_shuffle":
            return {"x": integers(rng, (n, -(-c // size.groups) * size.groups, h, w))}
        if pass_ == "pixel_unshuffle":
            return {"x": integers(rng, (n, c, h // factor * factor, w // factor * factor))}
        if pass_ == "pad_backward":
            return {"dy": integers(rng, (n, c, h + 2 * padding, w + 2 * padding))}
        if pass_ == "fold":
            steps = [(side + 2 * padding - size.kernel) // size.stride + 1 for side in (h, w)]
            shape = (n, c * size.kernel**2, steps[0] * steps[1])
            return {"x": rng.integers(-4, 5, shape).astype(np.float32)}
        return {"x": integers(rng, size.x_shape)}

    @staticmethod
    def result(size, pass_, operands):
        if pass_.startswith("pixel"):
            return getattr(reference, pass_)(operands["x"], size.factor)
        if pass_ == "channel_shuffle":
            return reference.channel_shuffle(operands["x"], size.groups)
        if pass_ == "unfold":
            return reference.unfold(operands["x"], **size.windows)
        if pass_ == "fold":
            return reference.fold(operands["x"], size.x_shape[2:], **size.windows)
        border = {"padding": size.padding, "mode": "reflect"}
        if pass_ == "pad":
            return reference.pad(operands["x"], **border)
        return reference.pad_backward(operands["dy"], size.x_shape, **border)
