"""The training loop and its parts: gradient, schedule, optimizer, EMA, state, checkpoint keeper."""
