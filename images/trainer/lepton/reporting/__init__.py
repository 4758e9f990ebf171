"""What a training process tells the outside: /progress, /metrics, and its last word. No torch."""
