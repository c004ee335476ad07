# Binding of activation.c and softmax.c.
