# Binding of rnn.
