"""The comparison: s2a and what people would use instead, measured side by side in one run (`make bench`)."""
