"""The truth: every kernel in plain PyTorch, on any device. It is also the CPU path where no native library is built."""
