"""Virtual time: the processor's own scheduler against modelled workers, without a broker or a clock."""
