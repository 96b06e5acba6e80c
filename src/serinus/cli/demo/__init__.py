"""The demo: real flights, two real models, one endpoint. Everything it claims, it measures."""
