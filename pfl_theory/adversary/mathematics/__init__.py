"""The referee's own mathematics, in 50 digits: plain formulas on the public data of an instance."""
