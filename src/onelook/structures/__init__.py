"""The nouns that flow between the parts."""
