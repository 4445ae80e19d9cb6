"""The confinement of the process that parses what comes from the network or from files of others."""
