"""One module a step, named for what it brings; they import nothing of Serinus."""
