"""Models of every kind that is served. Import inside tests only: the libraries take seconds."""
