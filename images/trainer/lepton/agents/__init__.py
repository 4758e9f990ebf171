"""Agents: perceptor (observation to features), decision maker, actuator (decision to action)."""
