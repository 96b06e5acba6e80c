"""The command line. Talks to a server over HTTP; only `serve` and `demo` start one."""
