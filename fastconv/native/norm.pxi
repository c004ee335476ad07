# Binding of norm.
