"""The multiple-instance model: bags, network, training, checkpoints."""
