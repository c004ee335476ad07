# Binding of pool2d.
