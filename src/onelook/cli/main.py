"""The `onelook` command."""
