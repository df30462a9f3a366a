"""CRF and word-pair heads behind one interface."""
