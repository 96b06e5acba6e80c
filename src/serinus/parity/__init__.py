"""What training promised of a model, captured, read and compared; a replica may import it."""
