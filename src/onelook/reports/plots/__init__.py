"""Images of a run: what the data hold, what training sees, what the model gets right. Each file draws one kind."""
