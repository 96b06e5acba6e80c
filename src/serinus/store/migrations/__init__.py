"""Steps between versions of the tables. A step that was released never changes."""
