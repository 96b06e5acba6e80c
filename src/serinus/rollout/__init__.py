"""How a new version earns its traffic: decisions as plain data. It never does anything itself."""
