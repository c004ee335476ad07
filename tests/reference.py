"""The float64 definition of every op, in plain NumPy: the oracle. Imports nothing from fastconv.

Shapes and names are those of fastconv.ops. Clarity before speed: loops over taps and steps, not over elements.
"""

import numpy as np

# ------------------------------------------------------------------------------------------------------ activations


# ----------------------------------------------------------------------------------------------- matrix products


# ---------------------------------------------------------------------------------------------------- convolution


# -------------------------------------------------------------------------------------------------------- pooling


# -------------------------------------------------------------------------------------------------- normalisation


# ------------------------------------------------------------------------------------------------------ recurrence


# ------------------------------------------------------------------------------------------- losses and optimisers


def softmax_cross_entropy(logits, labels):
    """(mean of -log softmax(logits)[label], its gradient): logits (N, C), labels (N,)."""
    logits = logits.astype(np.float64)
    count = len(labels)
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    onehot = np.eye(logits.shape[1])[labels]
    loss = -np.sum(onehot * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))) / count
    return loss, (probabilities - onehot) / count


def mean_squared_error(prediction, targets):
    difference = prediction.astype(np.float64) - targets
    return np.mean(difference**2), 2.0 * difference / difference.size


def binary_cross_entropy_with_logits(logits, targets):
    logits, targets = logits.astype(np.float64), targets.astype(np.float64)
    loss = np.mean(targets * np.logaddexp(0.0, -logits) + (1.0 - targets) * np.logaddexp(0.0, logits))
    return loss, (1.0 / (1.0 + np.exp(-logits)) - targets) / logits.size


def binary_cross_entropy(probabilities, targets):
    p, t = probabilities.astype(np.float64), targets.astype(np.float64)
    return -np.mean(t * np.log(p) + (1.0 - t) * np.log(1.0 - p)), (p - t) / (p * (1.0 - p)) / p.size


def sgd(value, grads, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """value after a step for each of grads."""
    value, velocity = value.astype(np.float64), None
    for grad in grads:
        g = grad + weight_decay * value
        if momentum:
            velocity = g if velocity is None else momentum * velocity + g
            g = g + momentum * velocity if nesterov else velocity
        value = value - lr * g
    return value


def adam(value, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """value after a step for each of grads."""
    value = value.astype(np.float64)
    mean, square = np.zeros_like(value), np.zeros_like(value)
    for step, grad in enumerate(grads, 1):
        g = grad if decoupled else grad + weight_decay * value
        if decoupled:
            value = value * (1.0 - lr * weight_decay)
        mean = betas[0] * mean + (1.0 - betas[0]) * g
        square = betas[1] * square + (1.0 - betas[1]) * g * g
        value = value - lr * (mean / (1.0 - betas[0] ** step)) / (np.sqrt(square / (1.0 - betas[1] ** step)) + eps)
    return value
