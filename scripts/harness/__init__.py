"""What the Python scripts share: server processes and a RESP client. Standard library only."""
