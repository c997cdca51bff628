"""Pieces of self-contained HTML pages: markup that escapes, frame and style, tables, charts, images."""
