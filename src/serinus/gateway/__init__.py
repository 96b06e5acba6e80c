"""HTTP in front of the replicas. Stateless: one immutable RouteTable, never a database."""
