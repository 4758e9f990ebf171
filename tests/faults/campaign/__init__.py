"""The fault campaign's tools: an injecting proxy, the operator as a process, lives, an oracle."""
