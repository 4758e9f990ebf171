"""The pure core: `decide(job, observed, settings, now) -> Plan`. No I/O, no clock, no client."""
