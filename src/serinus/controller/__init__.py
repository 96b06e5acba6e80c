"""The only hands: reads the store and the engine, decides, journals, then acts."""
