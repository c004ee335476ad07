# Binding of conv2d.
