"""What must survive: endpoints, configs, routes and the journal. SQL stays in here."""
