"""The worker: claim, run, deliver, acknowledge. Knows the ports, not who is behind them."""
