"""The one atomic writer and the bounded readers."""
